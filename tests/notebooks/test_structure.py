"""What every notebook of the workbook must look like; the rules are also tried on small notebooks that break them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reidlab.params import NOTEBOOKS
from reidlab.workbook.cells import parameter_lines, read_notebook, tags_of
from reidlab.workbook.clean import clean_text

Make = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_LINES, MAX_BYTES = 12, 200_000
MAX_PARAMETERS = 18
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|Users|root|work|mnt|tmp|media|data)/\w|[A-Z]:\\\\")


def problems(path: Path) -> list[str]:
    """Return what is wrong with a notebook."""
    notebook = read_notebook(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in tags_of(cell)]
    found = []
    if len(tagged) != 1 or code[0] is not tagged[0]:
        found.append("the first code cell, and no other, is tagged `parameters`")
    else:
        bare = [line.name for line in parameter_lines(notebook) if not line.annotation or not line.description]
        found += [f"{name}: a parameter is `name: type = literal  # what it is`" for name in bare]
    for cell in code:
        found += _code_problems(cell.source)
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is python3")
    text = path.read_text(encoding="utf-8")
    if clean_text(text) != text:
        found.append("not clean: `make notebooks-clean`")
    if MACHINE_PATH.search(text):
        found.append(f"an absolute path: {MACHINE_PATH.search(text)}")
    if len(text.encode()) > MAX_BYTES:
        found.append(f"{len(text.encode()):,} bytes, at most {MAX_BYTES:,}")
    if notebook.cells[0].cell_type != "markdown" or not notebook.cells[0].source.startswith("# "):
        found.append("it begins with a title")
    return found


def _code_problems(source: str) -> list[str]:
    found = []
    head = source.splitlines()[0] if source else ""
    most = MAX_PARAMETERS if re.match(r"\w+: \w", source) else MAX_LINES
    if len(source.splitlines()) > most:
        found.append(f"{len(source.splitlines())} lines in the cell {head!r}, at most {most}")
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [*found, f"the cell {head!r} is not plain Python: {error.msg}"]
    if any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in ast.walk(tree)):
        found.append(f"a function or class in the cell {head!r}: it belongs into the package")
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook(path: Path) -> None:
    assert problems(path) == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_parameters_agree_with_the_model(path: Path) -> None:
    assert path.stem in NOTEBOOKS, f"reidlab/params has no model for {path.stem}"
    model = NOTEBOOKS[path.stem]
    given = {line.name: line.default for line in parameter_lines(read_notebook(path))}
    wanted = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    assert list(given) == list(wanted), "names and their order"
    assert {k: _plain(v) for k, v in given.items()} == {k: _plain(v) for k, v in wanted.items()}
    assert {k: type(v) for k, v in given.items() if v is not None and not isinstance(v, (list, tuple))} == {
        k: type(v) for k, v in wanted.items() if v is not None and not isinstance(v, (list, tuple))
    }
    source = "\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == "code")
    assert re.search(rf"\b{model.__name__}\.from_notebook\(globals\(\)\)", source), "the parameters are checked"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


# ---- the rules themselves

GOOD = "n: int = 1  # how many"


def cleaned(path: Path) -> Path:
    path.write_text(clean_text(path.read_text()))
    return path


def test_a_good_notebook_has_no_problem(make_notebook: Make) -> None:
    notebook = make_notebook("good", "print(n)", parameters=GOOD)
    assert problems(cleaned(notebook)) == ["it begins with a title"]


@pytest.mark.parametrize(
    ("cells", "parameters", "words"),
    [
        (["def f(): pass"], GOOD, "belongs into the package"),
        (["if True:\n    class A: pass"], GOOD, "belongs into the package"),
        (["\n".join(["x = 1"] * 13)], GOOD, "13 lines"),
        (["x = 1"], "", "first code cell"),
        (["x = 1"], "n: int = 1", "a parameter is"),
        (["x = 1"], "n = 1  # how many", "a parameter is"),
        (["x = '/home/me/data'"], GOOD, "an absolute path"),
        (["%matplotlib inline"], GOOD, "not plain Python"),
        (["x = '" + "y" * MAX_BYTES + "'"], GOOD, "bytes, at most"),
    ],
)
def test_broken_rules_are_found(make_notebook: Make, cells: list[str], parameters: str, words: str) -> None:
    assert any(words in problem for problem in problems(cleaned(make_notebook("bad", *cells, parameters=parameters))))


def test_other_broken_rules(make_notebook: Make) -> None:
    path = make_notebook("bad", "x = 1", parameters=GOOD)
    assert "not clean: `make notebooks-clean`" in problems(path)
    twice = cleaned(make_notebook("twice", "m: int = 1  # x", parameters=GOOD, tags={0: ["parameters"]}))
    assert any("no other" in problem for problem in problems(twice))
    text = path.read_text().replace('"name": "python3"', '"name": "mine"')
    path.write_text(text)
    assert "the kernel is python3" in problems(path)
    assert not MACHINE_PATH.search("https://x.org/data/a and data/raw/x, 3/tmp/x")
