"""The workbook's folders are found from anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from reidlab import paths
from reidlab.errors import UserError


def test_root_has_the_notebooks() -> None:
    assert (paths.root() / "pyproject.toml").is_file()


def test_root_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_ROOT", str(tmp_path))
    monkeypatch.delenv("REIDLAB_DATA", raising=False)
    assert paths.root() == tmp_path.resolve()
    assert paths.data_root() == tmp_path.resolve() / "data"
    monkeypatch.setenv("REIDLAB_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        paths.root()


def test_find_looks_here_then_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workbook, here = tmp_path / "workbook", tmp_path / "here"
    (workbook / "data").mkdir(parents=True)
    here.mkdir()
    monkeypatch.setenv("REIDLAB_ROOT", str(workbook))
    monkeypatch.chdir(here)
    assert paths.find("data") == workbook.resolve() / "data"
    (here / "data").mkdir()
    assert paths.find("data") == Path("data")
    assert paths.find("missing/file.pth") == Path("missing/file.pth")
    assert paths.find(tmp_path / "x") == tmp_path / "x"


def test_find_looks_first_where_the_command_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebooks, caller = tmp_path / "notebooks", tmp_path / "home"
    for folder in (notebooks, caller):
        folder.mkdir()
        (folder / "mine.yaml").touch()
    (notebooks / "other.yaml").touch()
    monkeypatch.chdir(notebooks)
    assert paths.find("mine.yaml") == Path("mine.yaml")
    monkeypatch.setenv(paths.CALLED_FROM, str(caller))
    assert paths.find("mine.yaml") == caller / "mine.yaml" and paths.find("other.yaml") == Path("other.yaml")
    assert paths.find(notebooks / "mine.yaml") == notebooks / "mine.yaml"


def test_find_follows_a_moved_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = tmp_path / "elsewhere"
    (moved / "raw").mkdir(parents=True)
    (moved / "raw" / "w.pth").touch()
    monkeypatch.setenv("REIDLAB_ROOT", str(tmp_path))
    monkeypatch.setenv("REIDLAB_DATA", str(moved))
    assert paths.find("data/raw/w.pth") == moved.resolve() / "raw" / "w.pth"
    assert paths.find("raw/w.pth") == Path("raw/w.pth")


@pytest.mark.parametrize("variable", ["REIDLAB_DATA", "REIDLAB_REPORTS", "REIDLAB_ROOT"])
def test_what_the_environment_names_must_be_usable(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    folder = {"REIDLAB_DATA": paths.data_root, "REIDLAB_REPORTS": paths.reports_root, "REIDLAB_ROOT": paths.root}[
        variable
    ]
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    with pytest.raises(UserError, match=rf"{variable}=.*file' is .*folder"):
        folder()
    monkeypatch.setenv(variable, "~nosuchuser/x")
    with pytest.raises(UserError, match=rf"{variable}='~nosuchuser/x': the home folder of that user is not known"):
        folder()


def test_names_that_no_file_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.CALLED_FROM, str(tmp_path))
    for name, words in (
        ("x" * 300, "is longer than a path may be: 300 characters"),
        ("data/" + "x" * 300, "is longer than a path may be"),
        ("a\0b", "is not a valid path .*null"),
        ("\ud800", "is not a valid path .*surrogates"),
    ):
        assert not paths.exists(name)
        with pytest.raises(UserError, match=words):
            paths.find(name)
    with pytest.raises(UserError, match="'~nosuchuser/x': the home folder of that user is not known"):
        paths.find("~nosuchuser/x")


def test_a_folder_of_the_workbook_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_ROOT", str(tmp_path))
    monkeypatch.delenv("REIDLAB_DATA", raising=False)
    (tmp_path / "data").touch()
    with pytest.raises(UserError, match=r"data is a file, but must be a folder.* set REIDLAB_DATA"):
        paths.data_root()
