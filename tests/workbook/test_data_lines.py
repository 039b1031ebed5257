"""The data parameters of the notebooks are written from one place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reidlab.params import NOTEBOOKS, DataParams
from reidlab.workbook.cells import parameter_lines, read_notebook, tags_of
from reidlab.workbook.clean import main
from reidlab.workbook.data_lines import data_lines, shares_data_lines, with_data_lines

ROOT = Path(__file__).resolve().parents[2]
SHARING = sorted(path for path in (ROOT / "notebooks").glob("*.ipynb") if shares_data_lines(path))
Make = Callable[..., Path]


def cell_of(path: Path) -> list[str]:
    return next(c.source for c in read_notebook(path).cells if "parameters" in tags_of(c)).splitlines()


def test_which_notebooks_share_them(tmp_path: Path) -> None:
    assert {path.stem for path in SHARING} == {
        name for name, model in NOTEBOOKS.items() if issubclass(model, DataParams)
    }
    copied = shutil.copy(SHARING[0], tmp_path)
    assert not shares_data_lines(Path(copied)), "a copy elsewhere is its owner's"


@pytest.mark.parametrize("path", SHARING, ids=lambda path: path.stem)
def test_the_cells_hold_the_declared_lines(path: Path) -> None:
    assert cell_of(path)[: len(data_lines())] == data_lines(), "`make notebooks-clean` writes them"


def test_lines_say_name_type_default_and_description(make_notebook: Make) -> None:
    path = make_notebook("lines", parameters="\n".join(data_lines()))
    lines = parameter_lines(read_notebook(path))
    assert {line.name: line.default for line in lines} == DataParams().model_dump()
    assert {line.name: line.annotation for line in lines} == {
        "dataset": "str", "root": "str", "seed": "int", "options": "dict", "split": "str", "val_share": "float"
    }  # fmt: skip
    assert [line.description for line in lines] == [field.description for field in DataParams.model_fields.values()]


def test_edited_lines_are_written_anew_and_the_others_stay(
    make_notebook: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = 'seed: int = 7  # mine\nrecipe: str = "x"  # which\ndataset: str = "market1501"  # d'
    path = make_notebook("03_training", "print(1)", parameters=edited)
    wanted = [*data_lines(), 'recipe: str = "x"  # which']
    before = read_notebook(path)
    after = with_data_lines(before)
    assert next(c.source for c in after.cells if "parameters" in tags_of(c)).splitlines() == wanted
    assert before == read_notebook(path), "the original is left alone"
    main([str(path)])
    assert cell_of(path) == edited.splitlines(), "a copy elsewhere keeps its lines"
    monkeypatch.setattr("reidlab.workbook.data_lines.root", lambda: tmp_path)
    ours = tmp_path / "notebooks" / path.name
    ours.parent.mkdir(exist_ok=True)
    if ours != path:
        shutil.copy(path, ours)
    assert main(["--check", str(ours)]) == 1 and main([str(ours)]) == 0 and main(["--check", str(ours)]) == 0
    assert cell_of(ours) == wanted
