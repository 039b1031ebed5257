"""Every line that README, guide and docs/coming_from.md give for our side can be typed: commands, options, names."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from reidlab.cli import app
from reidlab.workbook.cells import find_notebook, parameter_model, read_notebook

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/guide.md", "docs/coming_from.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMING = "docs/coming_from.md"


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def commands(document: str) -> list[str]:
    """Return the lines that call `reidlab`, of blocks for the shell and of backticks."""
    blocks = [line for kind, block in FENCE.findall(text_of(document)) if kind == "sh" for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text_of(document)))
    return [line.strip() for line in [*blocks, *inline] if re.match(r"\s*reidlab( |$)", line)]


def problems(line: str) -> list[str]:
    """Say what of a command is not there: its name, an option, a notebook, a notebook's parameter."""
    words = shlex.split(line.split(" > ")[0].split(" | ")[0], comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return [f"no command {name}"]
        command = command.commands[name]
    options = {name: each for each in command.params for name in [*each.opts, *each.secondary_opts]}
    found, plain, params = [], [], []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            plain.append(word)
            continue
        option = options.get(word)
        if word in ("-h", "--help") or (option is None and not words and word == "--version"):
            continue
        if option is None:
            found.append(f"no option {word}")
        elif word in ("-p", "--param"):
            if words:
                params.append(words[0])
                del words[:2]
        elif not getattr(option, "is_flag", False):
            del words[:1]
    if command.name == "run" and plain:
        known: set[str] = set()
        for which in plain:
            path = find_notebook(which)
            known |= set(parameter_model(path, read_notebook(path)).model_fields)
        found += [f"no parameter {name} in {plain}" for name in params if name not in known]
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_there(document: str) -> None:
    lines = commands(document)
    assert len(lines) > 10
    assert {line: problems(line) for line in lines if problems(line)} == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("reidlab walk 03", "no command walk"),
        ("reidlab run 03 --fast", "no option --fast"),
        ("reidlab run 03 -p epoch 5", "no parameter epoch in ['03']"),
        ("reidlab data lists", "no command lists"),
        ("reidlab search -q a.jpg -g crops --tops 5", "no option --tops"),
    ],
)
def test_a_wrong_command_is_found(line: str, problem: str) -> None:
    assert problems(line) == [problem]


def names_of(block: str) -> dict[str, Any]:
    """Return what a block of Python imports, by the names that it gives it."""
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                try:
                    value = importlib.import_module(f"{node.module}.{alias.name}")
                except ImportError:
                    value = getattr(importlib.import_module(node.module), alias.name)
                found[alias.asname or alias.name] = value
    return found


def resolved(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return what a name or a dotted name of the package stands for; None for variables and results of calls."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        holder = resolved(node.value, names)
        return None if holder is None else getattr(holder, node.attr)
    return None


def wrong_calls(code: str, names: dict[str, Any]) -> Iterator[str]:
    """Yield the calls of the package's functions whose arguments do not fit."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            resolved(node, names)  # raises AttributeError where there is no such thing
        if isinstance(node, ast.Call) and (function := resolved(node.func, names)) is not None:
            given = {each.arg: None for each in node.keywords if each.arg}
            try:
                inspect.signature(function).bind(*node.args, **given)
            except TypeError as error:
                yield f"{ast.unparse(node)}: {error}"


def python_lines() -> list[str]:
    """Return the expressions of Python in the last column of each table."""
    rows = [line.split(" | ") for line in text_of(COMING).splitlines() if line.startswith("| ")]
    cells = [code for row in rows if len(row) == 3 for code in re.findall(r"`([^`]+)`", row[2])]
    return [code for code in cells if re.match(r"[\w.]+\(", code)]


def first_block(document: str) -> str:
    return next(block for kind, block in FENCE.findall(text_of(document)) if kind == "python")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_fit_the_package(document: str) -> None:
    blocks = [block for kind, block in FENCE.findall(text_of(document)) if kind == "python"]
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        names |= names_of(block)
        assert list(wrong_calls(block, names)) == []


def test_python_lines_fit_the_package() -> None:
    names, lines = names_of(first_block(COMING)), python_lines()
    assert len(lines) > 20
    assert [wrong for line in lines for wrong in wrong_calls(line, names)] == []
    known = {*names, "table", "model", "query", "gallery", "train", "pixels", "first", "second"}
    strange = {node.id for line in lines for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Name)} - known
    assert strange == set()


def test_a_wrong_line_is_found() -> None:
    names = names_of(first_block(COMING))
    assert len(list(wrong_calls("retrieval.evaluate(query, gallery, boots=3)", names))) == 1
    with pytest.raises(AttributeError, match="evaluates"):
        list(wrong_calls("retrieval.evaluates(query, gallery)", names))


def test_recipes_models_and_methods_are_registered() -> None:
    from reidlab.paths import RECIPES
    from reidlab.registry import DATASETS, LOSSES, RERANKINGS, SAMPLERS

    text = text_of(COMING)
    recipes = set(re.findall(r"(?:-p recipe|reidlab recipes) (\w+)(?![\w.])", text)) - {"mine"}
    assert recipes and recipes <= {path.stem for path in RECIPES.glob("*.yaml")}
    assert set(re.findall(r"-p rerank (\w+)|rerank=\"(\w+)\"", text)) and all(
        (a or b) in RERANKINGS for a, b in re.findall(r"-p rerank (\w+)|rerank=\"(\w+)\"", text)
    )
    assert all(name in DATASETS for name in re.findall(r"data\.read\(\"(\w+)\"", text))
    assert all(name in LOSSES for name in re.findall(r"losses\.build\(\"(\w+)\"", text))
    assert all(name in SAMPLERS for name in re.findall(r"build_sampler\(\"(\w+)\"", text))
