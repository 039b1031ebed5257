from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from reidlab.errors import UserError
from reidlab.workbook import RESULT_TYPE, Result
from reidlab.workbook.cells import (
    find_notebook,
    list_notebooks,
    parameter_lines,
    parameter_model,
    read_notebook,
    result_of,
    title_of,
)

Make = Callable[..., Path]


@pytest.fixture
def workbook(make_notebook: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("01_data_prep", "03_training", "11_model_zoo"):
        make_notebook(name, "1")
    monkeypatch.setenv("REIDLAB_ROOT", str(tmp_path))
    return tmp_path / "notebooks"


@pytest.mark.parametrize("which", ["3", "03", "03_training", "training", "03_training.ipynb"])
def test_notebooks_are_found(workbook: Path, which: str) -> None:
    assert find_notebook(which) == workbook / "03_training.ipynb"


def test_notebooks_are_found_by_path(workbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workbook)
    assert find_notebook("11_model_zoo.ipynb") == workbook / "11_model_zoo.ipynb"
    assert find_notebook(str(workbook / "01_data_prep.ipynb")).name == "01_data_prep.ipynb"
    assert [p.stem for p in list_notebooks()] == ["01_data_prep", "03_training", "11_model_zoo"]


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("trainin", "Did you mean 'training'"),
        ("7", "There are: 01_data_prep, 03_training"),
        ("nope/x.ipynb", "There are"),
    ],
)
def test_unknown_notebooks(workbook: Path, which: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_notebook(which)


def test_files_that_are_no_notebooks(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("{")
    with pytest.raises(UserError, match=r"a\.ipynb cannot be read"):
        read_notebook(tmp_path / "a.ipynb")
    with pytest.raises(UserError, match=r"no notebook 'b\.ipynb'"):
        read_notebook(tmp_path / "b.ipynb")


def test_parameter_lines_and_a_model_of_them(make_notebook: Make) -> None:
    source = "n: int = 3  # how many\nmode: Literal['a', 'b'] = 'a'  # which\nlimit: int | None = None\nold = 1.5\nt: tuple[int, ...] = (1,)"
    path = make_notebook("90_own", "1", parameters=source)
    lines = parameter_lines(read_notebook(path))
    assert [(x.name, x.annotation, x.default, x.description) for x in lines[:2]] == [
        ("n", "int", 3, "how many"),
        ("mode", "Literal['a', 'b']", "a", "which"),
    ]
    model = parameter_model(path, read_notebook(path))
    assert model().model_dump() == {"n": 3, "mode": "a", "limit": None, "old": 1.5, "t": (1,)}
    assert model.from_values({"limit": "none", "old": "2", "t": "1,2"}).model_dump()["t"] == (1, 2)
    with pytest.raises(UserError, match="90_own"):
        model.from_values({"mode": "c"})


@pytest.mark.parametrize(
    "line", ["n: int = a * 10", "n: int = 1\nprint(n)", "n: int", "import os", "n: int = (", "n.x = 1"]
)
def test_parameters_cells_that_compute_are_refused(make_notebook: Make, line: str) -> None:
    with pytest.raises(UserError, match="parameters cell"):
        parameter_lines(read_notebook(make_notebook("x", "1", parameters=line)))


def test_annotations_are_plain_types(make_notebook: Make) -> None:
    path = make_notebook("x", "1", parameters="n: Path = 'a'")
    with pytest.raises(UserError, match=r"'n': the annotation 'Path'"):
        parameter_model(path, read_notebook(path))


def test_our_notebooks_have_their_models(make_notebook: Make, workbook: Path) -> None:
    path = workbook / "03_training.ipynb"
    assert "recipe" in parameter_model(path, read_notebook(path)).model_fields
    own = path.parents[1] / "03_training.ipynb"
    path.rename(own)
    assert "recipe" not in parameter_model(own, read_notebook(own)).model_fields


def test_title_and_result() -> None:
    made = Result({"mAP": 0.5, "n": 1234, "ok": True, "none": None, "<b>": "<i>"}, note="On toys.")
    bundle = made._repr_mimebundle_()
    assert bundle[RESULT_TYPE]["metrics"]["mAP"] == 0.5 and "&lt;b&gt;" in bundle["text/html"]
    assert bundle["text/plain"].splitlines()[:4] == ["mAP   0.5", "n     1,234", "ok    True", "none  –"]
    cell = new_code_cell("r", outputs=[new_output("execute_result", bundle)])
    notebook = new_notebook(cells=[new_markdown_cell("text\n\n# The `title` #\n"), cell, new_code_cell("1")])
    assert title_of(notebook) == "The title" and result_of(notebook)["metrics"]["n"] == 1234
    nbformat.validate(notebook)
    assert title_of(new_notebook(), "x") == "x" and result_of(new_notebook()) == {}
