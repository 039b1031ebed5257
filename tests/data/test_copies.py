"""One folder per identity: links, copies, refusals; the sources stay as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from reidlab import space
from reidlab.data.prepare import group_copies
from reidlab.errors import UserError


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    rows = []
    for folder, pid in [("x", "ada"), ("y", "ada"), ("x2", "Ada"), ("z", "a/b"), ("w", "..")]:
        path = tmp_path / "raw" / folder / "1.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(folder)
        rows.append({"path": str(path), "pid": pid, "split": "train"})
    return pd.DataFrame(rows)


def tree(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("linking", [True, False])
def test_grouping(tmp_path: Path, table: pd.DataFrame, linking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not linking:

        def refuse(self: Path, target: Path) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    before = tree(tmp_path / "raw")
    grouped = group_copies(table, tmp_path / "new")
    assert tree(tmp_path / "new") == {
        "train/ada/1.jpg": "x",
        "train/ada/1~2.jpg": "y",
        "train/Ada~2/1.jpg": "x2",
        "train/a%2Fb/1.jpg": "z",
        "train/%2E%2E/1.jpg": "w",
    }
    assert [Path(path).read_text() for path in grouped["path"]] == ["x", "y", "x2", "z", "w"]
    assert grouped["pid"].tolist() == table["pid"].tolist()
    assert tree(tmp_path / "raw") == before
    assert Path(grouped["path"][0]).samefile(table["path"][0]) is linking


def test_a_linked_source_is_followed(tmp_path: Path, table: pd.DataFrame) -> None:
    (tmp_path / "raw" / "link.jpg").symlink_to(tmp_path / "raw/x/1.jpg")
    table.loc[0, "path"] = str(tmp_path / "raw" / "link.jpg")
    grouped = group_copies(table, tmp_path / "new")
    assert not Path(grouped["path"][0]).is_symlink() and Path(grouped["path"][0]).read_text() == "x"


def test_refusals_write_nothing(tmp_path: Path, table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="not an empty folder"):
        group_copies(table, tmp_path / "raw")
    (tmp_path / "empty").mkdir()
    table.loc[1, "path"] = "/nowhere/1.jpg"
    with pytest.raises(UserError, match=r"1 images are missing, the first is /nowhere/1\.jpg"):
        group_copies(table, tmp_path / "empty")
    assert not any((tmp_path / "empty").iterdir())


def test_copies_are_compared_with_the_free_space(
    tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setattr(space, "free_bytes", lambda folder: space.RESERVE)
    before = tree(tmp_path / "raw")
    with pytest.raises(UserError, match=r"Copying 5 images needs 6 bytes"):
        group_copies(table, tmp_path / "new")
    assert not (tmp_path / "new").exists() and tree(tmp_path / "raw") == before


def test_a_disk_that_fills_leaves_nothing(tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", full)
    monkeypatch.setattr(shutil, "copy2", full)
    before = tree(tmp_path / "raw")
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        group_copies(table, tmp_path / "new")
    assert not (tmp_path / "new").exists() and tree(tmp_path / "raw") == before


def test_identities_longer_than_a_file_name(tmp_path: Path, table: pd.DataFrame) -> None:
    table["pid"] = ["ä" * 300 + "1", "ä" * 300 + "2", "b" * 900, "c", "d"]
    grouped = group_copies(table, tmp_path / "new")
    assert [Path(path).read_text() for path in grouped["path"]] == ["x", "y", "x2", "z", "w"]
    assert len({Path(path).parent for path in grouped["path"]}) == 5
