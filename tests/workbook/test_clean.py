from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reidlab.workbook.after_save import settle
from reidlab.workbook.clean import clean, clean_text, main

ROOT = Path(__file__).resolve().parents[2]


def dirty() -> nbformat.NotebookNode:
    stream = new_output("stream", text="hello\n")
    shown = new_output("execute_result", {"text/plain": "1"}, execution_count=9, metadata={"x": 1})
    cells = [
        new_markdown_cell("# Title\n\ntext\n\n", metadata={"collapsed": True}),
        new_code_cell("a = 1", metadata={"tags": ["parameters"], "papermill": {"x": 1}}),
        new_code_cell("a = 2", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("print('hello')", outputs=[stream], execution_count=7),
        new_code_cell(
            "print('hello')\na", outputs=[stream, shown], execution_count=9, metadata={"tags": ["nbval-check-output"]}
        ),
        new_code_cell("fig", metadata={"alt": "A curve", "scrolled": True}),
        new_markdown_cell("error here", metadata={"tags": ["papermill-error-cell-tag"]}),
        new_code_cell("  \n"),
    ]
    kernel = {"name": "my-env", "display_name": "Mine", "language": "python"}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "widgets": {"x": 1}, "papermill": {"input_path": "/x"}}
    )


def test_only_what_matters_is_kept() -> None:
    notebook = clean(dirty())
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and notebook.metadata.kernelspec.name == "python3"
    assert [c.id for c in notebook.cells] == ["title", "a-1", "print-hello", "print-hello-2", "fig"]
    assert [c.metadata for c in notebook.cells] == [
        {},
        {"tags": ["parameters"]},
        {},
        {"tags": ["nbval-check-output"]},
        {"alt": "A curve"},
    ]
    assert [c.get("execution_count") for c in notebook.cells] == [None, None, None, 3, None]
    assert [len(c.get("outputs", [])) for c in notebook.cells] == [0, 0, 0, 2, 0]
    assert notebook.cells[3].outputs[1] == {
        "output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3,
    }  # fmt: skip
    assert notebook.cells[0].source == "# Title\n\ntext"


def test_the_original_is_left_alone_and_cleaning_twice_changes_nothing() -> None:
    notebook = dirty()
    before = nbformat.writes(notebook)
    clean(notebook)
    assert nbformat.writes(notebook) == before
    once = clean_text(before)
    assert clean_text(once) == once and once.endswith("}\n")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.text(st.characters(codec="utf-8"), max_size=60)), max_size=5))
def test_cleaning_is_idempotent_for_any_source(cells: list[tuple[bool, str]]) -> None:
    made = [new_code_cell(text) if code else new_markdown_cell(text) for code, text in cells]
    once = clean_text(nbformat.writes(new_notebook(cells=made)))
    assert clean_text(once) == once
    nbformat.validate(nbformat.reads(once, as_version=4))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ipynb"
    nbformat.write(dirty(), path)
    text = path.read_text()
    assert main(["--check", str(path)]) == 1 and path.read_text() == text
    assert "make notebooks-clean" in capsys.readouterr().out
    assert main([str(path)]) == 0 and path.read_text() != text
    assert main(["--check", str(path)]) == 0
    path.write_text("{")
    assert main([str(path)]) == 2 and "cannot be read" in capsys.readouterr().err


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git repository with the workbook's Makefile and attributes, an environment, and a clean notebook."""
    source = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "a.ipynb").write_text(clean_text(nbformat.writes(source)), encoding="utf-8")
    for name in ("Makefile", ".gitattributes"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path


def ask(folder: Path, *words: str) -> str:
    who = {f"GIT_{role}_{what}": "x@y" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "MAKE", "MFLAGS"))}
    done = subprocess.run(words, cwd=folder, env=alone | who, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_running_in_lab_leaves_git_status_clean(clone: Path) -> None:
    ask(clone, "git", "init", "-q")
    ask(clone, "git", "add", "notebooks", ".gitattributes")  # before `make env` there is no filter, and no complaint
    ask(clone, "git", "commit", "-q", "-m", "x")
    ask(clone, "make", "-o", ".venv/.made", "env")
    path = clone / "notebooks" / "a.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[0].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=7)]
    notebook.cells[0].execution_count = 7
    nbformat.write(notebook, path)
    assert ask(clone, "git", "diff") == ""
    settle(os_path=str(path), model={}, contents_manager=None)
    assert ask(clone, "git", "status", "--porcelain", "-uno") == ""
    notebook.cells[0].source = "1 + 2"
    nbformat.write(notebook, path)
    settle(os_path=str(path))
    assert ask(clone, "git", "status", "--porcelain", "-uno") == " M notebooks/a.ipynb\n"
    path.write_text("<<<<<<< in the middle of a merge\n")
    ask(clone, "git", "add", "notebooks")
    assert ask(clone, "git", "show", ":notebooks/a.ipynb") == "<<<<<<< in the middle of a merge\n"
    shutil.rmtree(clone / ".venv")
    path.write_text("without an environment nothing is cleaned\n")
    assert ask(clone, "git", "add", "notebooks") == ""
    assert "nothing is cleaned" in ask(clone, "git", "show", ":notebooks/a.ipynb")


def test_what_git_does_not_know_is_left_alone(clone: Path) -> None:
    other = clone / "notebooks" / "new.ipynb"
    other.write_text("{}")
    settle(os_path=str(other))  # outside a repository
    ask(clone, "git", "init", "-q")
    settle(os_path=str(other))
    assert ask(clone, "git", "ls-files") == ""


def test_no_other_repository_gets_the_filter(clone: Path) -> None:
    ask(clone.parent, "git", "init", "-q", str(clone.parent))
    try:
        ask(clone, "make", "-o", ".venv/.made", "env")
        assert "reidlab" not in (clone.parent / ".git" / "config").read_text()
    finally:
        shutil.rmtree(clone.parent / ".git")
