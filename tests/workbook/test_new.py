"""`reidlab new`: a workbook of one's own, and that commands inside it work on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidlab import paths
from reidlab.cli import main
from reidlab.errors import UserError
from reidlab.sweeps import load_sweep, plan_sweep
from reidlab.training.recipes import load_recipe
from reidlab.workbook import cells
from reidlab.workbook.new import new_workbook

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("REIDLAB_REPORTS")
    made = new_workbook(tmp_path / "mine")
    monkeypatch.chdir(made)
    return made


def test_what_is_in_it(mine: Path) -> None:
    there = {path.relative_to(mine).as_posix() for path in mine.rglob("*")}
    ours = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    folders = {"notebooks", "data", "data/raw", "recipes", "sweeps", "reports"}
    files = {"README.md", ".gitignore", "reidlab.yaml", "data/README.md", "recipes/mine.yaml", "sweeps/seeds.yaml"}
    assert there == ours | folders | files
    assert "/data/raw/" in (mine / ".gitignore").read_text().splitlines()


def test_commands_inside_it_work_on_it(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (mine, mine / "notebooks"):
        monkeypatch.chdir(folder)
        assert paths.root() == mine and paths.reports_root() == mine / "reports"
    assert cells.find_notebook("03") == mine / "notebooks" / "03_training.ipynb"
    assert main(["run", "03", "--params", "--json"]) == 0 and '"recipe"' in capsys.readouterr().out
    monkeypatch.setenv("REIDLAB_ROOT", str(ROOT))
    assert paths.root() == ROOT


def test_its_recipe_and_its_sweep_can_be_used(mine: Path) -> None:
    recipe = load_recipe("recipes/mine.yaml")
    assert recipe.name == "mine" and recipe.losses[1].options["margin"] == 0.2
    assert recipe.model == load_recipe("demo").model
    plan = plan_sweep(load_sweep("sweeps/seeds.yaml"))
    assert len(plan.runs) == 6 and plan.runs[0].notebook.parent == mine / "notebooks"


def test_only_a_new_or_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["new", str(tmp_path / "empty")]) == 0 and "reidlab run" in capsys.readouterr().out
    with pytest.raises(UserError, match="has something in it: give a new folder"):
        new_workbook(tmp_path / "empty")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        new_workbook(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be made"):
        new_workbook(tmp_path / "file" / "below")


def test_without_any_workbook_the_message_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "reidlab" / "paths.py"))
    with pytest.raises(UserError, match="Make one, `reidlab new FOLDER`"):
        paths.root()
    assert paths.find("nothing.yaml") == Path("nothing.yaml")
