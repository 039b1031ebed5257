"""The readers of user data: text identities, cameras where known, messages that name the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reidlab.data.datasets import read
from reidlab.data.schema import notes_of
from reidlab.errors import UserError


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_flat_with_cameras(tmp_path: Path) -> None:
    put(tmp_path, "ada_north_12.jpg", "007_c2_000034.PNG", "0002_c1s3_000451_03.webp", "notes.txt", "Thumbs.db")
    table = read("folder_flat", tmp_path)
    assert table["pid"].tolist() == ["0002", "007", "ada"]
    assert table["camid"].tolist() == ["c1", "c2", "north"]
    assert table["sequence"].tolist() == [3, -1, -1] and table["frame"].tolist() == [451, 34, 12]
    assert set(table["split"]) == {"train"} and "No split" in notes_of(table)[0]
    gallery = read("folder_flat", tmp_path, split="gallery")
    assert set(gallery["split"]) == {"gallery"} and notes_of(gallery) == []


def test_flat_without_cameras(tmp_path: Path) -> None:
    put(tmp_path, "ada_1.jpg", "ada_2.jpg", "bob_x.jpg")
    table = read("folder_flat", tmp_path)
    assert "camid" not in table and table["frame"].tolist() == [1, 2, -1]
    assert any("No camera" in note for note in notes_of(table))


def test_flat_by_a_pattern(tmp_path: Path) -> None:
    put(tmp_path, "cam1-ada-5.jpg", "cam2-bob-6.jpg")
    table = read("folder_flat", tmp_path, pattern=r"cam(?P<camid>\d)-(?P<pid>\w+)-(?P<frame>\d+)\.jpg")
    assert table["pid"].tolist() == ["ada", "bob"] and table["camid"].tolist() == ["1", "2"]
    for pattern, words in [("(", "not a regular expression"), ("x", "needs a group named pid")]:
        with pytest.raises(UserError, match=words):
            read("folder_flat", tmp_path, pattern=pattern)
    with pytest.raises(UserError, match=r"cam1-ada-5\.jpg"):
        read("folder_flat", tmp_path, pattern=r"(?P<pid>\d+)\.jpg")


def test_flat_names_that_say_too_little(tmp_path: Path) -> None:
    put(tmp_path, "ada_c1_1.jpg", "holiday.jpg")
    with pytest.raises(UserError, match=r"1 image names .*: holiday\.jpg\. Give pattern="):
        read("folder_flat", tmp_path)
    (tmp_path / "holiday.jpg").unlink()
    put(tmp_path, "bob_2.jpg")
    with pytest.raises(UserError, match=r"mixes names with a camera \(ada_c1_1\.jpg\) and 1 without \(bob_2\.jpg\)"):
        read("folder_flat", tmp_path)
    with pytest.raises(UserError, match=r"split='test' is not one of"):
        read("folder_flat", tmp_path, split="test")
    with pytest.raises(UserError, match="holds no image"):
        read("folder_flat", put(tmp_path / "empty"))


def test_a_folder_an_identity(tmp_path: Path) -> None:
    put(tmp_path, "ada/left_1.jpg", "ada/right_2.jpg", "7/left_1.jpeg", ".hidden/x.jpg")
    (tmp_path / "nobody").mkdir()
    table = read("folder_per_identity", tmp_path)
    assert table["pid"].tolist() == ["7", "ada", "ada"] and "camid" not in table
    assert any("1 identity folders hold no image: nobody" in note for note in notes_of(table))
    for camera in (r"^([a-z]+)_", r"^(?P<camid>[a-z]+)_"):
        assert read("folder_per_identity", tmp_path, camera=camera)["camid"].tolist() == ["left", "left", "right"]
    with pytest.raises(UserError, match=r"finds no camera in 1 of 3 names: right_2\.jpg"):
        read("folder_per_identity", tmp_path, camera=r"(left)")
    with pytest.raises(UserError, match="needs a group named camid"):
        read("folder_per_identity", tmp_path, camera="left")
    put(tmp_path, "stray.jpg")
    with pytest.raises(UserError, match=r"1 images stand beside the identity folders .*stray\.jpg"):
        read("folder_per_identity", tmp_path)


def test_folders_without_images_and_unreadable_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ada").mkdir()
    with pytest.raises(UserError, match="1 folders and no image in them"):
        read("folder_per_identity", tmp_path)
    put(tmp_path, "ada/1.jpg")

    def locked(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", locked)  # chmod does not stop root
    with pytest.raises(UserError, match=r"cannot be listed \(Permission denied\)"):
        read("folder_per_identity", tmp_path)


def test_links(tmp_path: Path) -> None:
    put(tmp_path / "images", "ada/1.jpg")
    (tmp_path / "linked").symlink_to(tmp_path / "images", target_is_directory=True)
    assert read("folder_per_identity", tmp_path / "linked")["path"][0] == str(tmp_path / "linked/ada/1.jpg")
    (tmp_path / "images" / "up").symlink_to(tmp_path / "images", target_is_directory=True)
    with pytest.raises(UserError, match="link to a folder that holds it"):
        read("folder_per_identity", tmp_path / "images")
    (tmp_path / "images" / "up").unlink()
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images" / "loop")
    with pytest.raises(UserError, match="link to nothing or to itself"):
        read("folder_per_identity", tmp_path / "images")
    (tmp_path / "images" / "loop").unlink()
    for target in ("gone.jpg", "2.jpg"):
        (tmp_path / "images/ada/2.jpg").symlink_to(tmp_path / "images/ada" / target)
        with pytest.raises(UserError, match=r"2\.jpg"):
            read("folder_per_identity", tmp_path / "images")
        (tmp_path / "images/ada/2.jpg").unlink()


def test_folders_of_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/ada/1.jpg", "query/bob_c1_1.jpg", "gallery/bob_c2_1.jpg", "other/x.jpg")
    with pytest.raises(UserError, match="'camid' is empty"):  # train has no camera, the others have
        read("folder_splits", tmp_path)
    table = read("folder_splits", tmp_path, camera=r"(\d)")
    assert table["split"].tolist() == ["train", "query", "gallery"]
    assert table["camid"].tolist() == ["1", "c1", "c2"]
    assert notes_of(table) == ["Folders that are not named after a split were not read: other."]
    with pytest.raises(UserError, match=r"none of the folders train.* Did you mean 'train'\? It has: trian"):
        read("folder_splits", put(tmp_path / "b", "trian/ada_1.jpg"))
    put(tmp_path, "train/bob_1.jpg")
    with pytest.raises(UserError, match="stand beside the identity folders"):
        read("folder_splits", tmp_path)
    assert "camid" not in read("folder_splits", put(tmp_path / "c", "train/ada_1.jpg"))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(tmp_path: Path, separator: str) -> None:
    put(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    lines = ["path,pid,camid,split,age", "images/a.jpg,007,1,query,30", f"{tmp_path}/images/b.jpg,NA,2,gallery,31"]
    lines += ["./images/../images/c.jpg,None,01,gallery,"]
    (tmp_path / "t.csv").write_text("\ufeff" + "\n".join(lines).replace(",", separator), encoding="utf-8")
    table = read("table", tmp_path / "t.csv")
    assert table["pid"].tolist() == ["007", "NA", "None"] and table["camid"].tolist() == ["1", "2", "01"]
    assert table["path"].tolist() == [str(tmp_path / "images" / name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert table["age"].tolist()[:2] == [30, 31] and notes_of(table) == []


def test_parquet_with_numbers(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "pid": [1.0, 2.0], "camid": [3, 4]})
    frame.to_parquet(tmp_path / "t.parquet")
    table = read("table", tmp_path / "t.parquet")
    assert table["pid"].tolist() == ["1", "2"] and table["camid"].tolist() == ["3", "4"]
    assert set(table["split"]) == {"train"} and "No split" in notes_of(table)[0]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"pid": [1.0, float("inf")]}, r"'pid' is not a whole number in 1 of 2 rows: row 1: inf"),
        ({"pid": [1, 2], "camid": [1.0, float("-inf")]}, r"'camid' is not a whole number .* row 1: -inf"),
        ({"pid": pd.array([1, None], dtype="Int64")}, r"'pid' is null in 1 of 2 rows: row 1"),
        ({"pid": [1, 2], "camid": pd.array([None, 1], dtype="Int64")}, r"'camid' is empty .* row 0"),
        ({"pid": [1, 2], "path": [5, 6]}, r"'path' is not text in 2 of 2 rows: row 0: 5"),
        ({"pid": [1e300, 1.0]}, r"'pid' is too large a float .* row 0: 1e\+300"),
        ({"pid": np.array([1, 2**64 - 1], dtype=np.uint64)}, r"'pid' is beyond the range of 64-bit integers"),
        ({"pid": [[1], [2]]}, r"'pid' is neither a number nor text"),
        ({"pid": [0.5, 1.0]}, r"'pid' is not a whole number"),
    ],
)
def test_bad_parquet(tmp_path: Path, columns: dict[str, object], words: str) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    pd.DataFrame({"path": ["a.jpg", "b.jpg"]} | columns).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=words):
        read("table", tmp_path / "t.parquet")


def test_blanks_around_ids(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "t.csv").write_text("path,pid,camid\na.jpg,7 ,1\nb.jpg, 7,1 \nc.jpg,7,01\n")
    table = read("table", tmp_path / "t.csv")
    assert table["pid"].tolist() == ["7", "7", "7"] and table["camid"].tolist() == ["1", "1", "01"]
    (tmp_path / "t.csv").write_text("path,pid,camid\na.jpg,7, \nb.jpg,7,\n")
    assert "camid" not in read("table", tmp_path / "t.csv")


def test_bad_tables(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    cases = [
        ("path,id\na.jpg,1\n", r"no column 'pid'\. Did you mean 'id'"),
        ("path,pid\na.jpg,1\nb.jpg,2\n", r"names 2 of 2 files that do not exist:\n  .*a\.jpg"),
        ("path,pid\na.jpg,\n", r"'pid' is null .*row 0"),
        ("path,pid\n,1\n", r"'path' is null"),
        ("path,pid,split\na.jpg,1,test\n", r"'split' is none of"),
        ("path,pid,camid\na.jpg,1,1\nb.jpg,1,\n", r"'camid' is empty .*row 1"),
        ("", "cannot be read"),
        ("path,pid\n", r"lists no images: it has the columns path, pid and no row"),
        ("path,pid\na.jpg,1,2\n", r"cannot be read: Length of header or names does not match"),
        ("path,pid\na.jpg,1\nb.jpg,2,3\n", r"cannot be read: .*Expected 2 fields in line 3, saw 3"),
        ("path,pid\na.jpg,1\x00\n", r"'pid' holds a null character"),
        ("path,pid\na\x00.jpg,1\n", r"'path' holds a null character"),
        ('path,pid\n"a.jpg,1\n', r"cannot be read: .*EOF inside string"),
    ]
    for text, words in cases:
        file.write_text(text)
        with pytest.raises(UserError, match=words):
            read("table", file)
    assert len(read("table", file.with_name("t.csv"), check_files=False)) if file.write_text("path,pid\na,1") else None
    (tmp_path / "t.parquet").write_text("no")
    with pytest.raises(UserError, match="not a readable parquet file"):
        read("table", tmp_path / "t.parquet")
    (tmp_path / "t.xlsx").write_text("no")
    with pytest.raises(UserError, match=r"neither \.csv"):
        read("table", tmp_path / "t.xlsx")
    with pytest.raises(UserError, match="there is no file"):
        read("table", tmp_path / "none.csv")
