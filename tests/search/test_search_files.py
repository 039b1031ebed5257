"""Files, folders and patterns: what counts as an image, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.search.files import find_images


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_is_searched_whole(tmp_path: Path) -> None:
    touch(tmp_path / "b.jpg", tmp_path / "a" / "c.PNG", tmp_path / "notes.txt", tmp_path / "Thumbs.db")
    touch(tmp_path / ".git" / "d.jpg", tmp_path / ".hidden.jpg", tmp_path / "none")
    found = find_images(tmp_path)
    assert found.files == [str(tmp_path / "b.jpg"), str(tmp_path / "a" / "c.PNG")]
    assert dict(found.skipped) == {
        str(tmp_path / "notes.txt"): "not named as an image (.txt)",
        str(tmp_path / "Thumbs.db"): "not named as an image (.db)",
        str(tmp_path / "none"): "not named as an image (no ending)",
    }


def test_patterns_files_and_folders_together_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "1.jpg", tmp_path / "2.jpg", tmp_path / "deep" / "er" / "3.png", tmp_path / "odd.data")
    monkeypatch.chdir(tmp_path)
    names = [os.path.relpath(path) for path in find_images(["*.jpg", "1.jpg", "**/*.png", "odd.data"]).files]
    assert names == ["1.jpg", "2.jpg", "deep/er/3.png", "odd.data"]
    assert find_images("deep*").files == [str(tmp_path / "deep" / "er" / "3.png")]


def test_a_name_with_signs_of_patterns_is_a_file_first(tmp_path: Path) -> None:
    touch(tmp_path / "[a]*?.jpg", tmp_path / "a1.jpg")
    assert find_images(tmp_path / "[a]*?.jpg").files == [str(tmp_path / "[a]*?.jpg")]


def test_a_file_that_is_named_is_not_skipped_for_its_name(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "b.dat")
    found = find_images([tmp_path, tmp_path / "b.dat"])
    assert found.files == [str(tmp_path / "a.jpg"), str(tmp_path / "b.dat")]
    assert found.skipped == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gone.jpg", "--query: there is no file or folder gone.jpg"),
        ("gone*.jpg", r"--query: nothing fits the pattern gone\*.jpg"),
        ("", "--query: an empty name"),
        ([], "--query: nothing is named"),
        ([3], "--query: 3 is no path"),
        ("a\0b", "--query: there is no file or folder"),
        ("x" * 5000, "--query: there is no file or folder"),
        ("[" + "x" * 5000, "--query: "),
        ("empty", "--query: empty holds no image. Images end with"),
        ("texts", r"--query: texts holds no image; there are 4 other files \(1.txt, 2.txt, 3.txt ...\)"),
        ("~nobody-has-this-name/x", "the home folder of that user is not known"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: object, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    touch(*(tmp_path / "texts" / f"{number}.txt" for number in range(1, 5)))
    with pytest.raises(UserError, match=said):
        find_images(given, "--query")  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "closed" / "b.jpg")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_images(tmp_path)
    assert found.files == [str(tmp_path / "a.jpg")]
    assert found.skipped == [(str(tmp_path / "closed"), "a folder that cannot be listed (Permission denied)")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=20))
def test_any_text_gives_files_or_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "a.jpg")
    try:
        assert find_images(text).files
    except UserError as error:
        assert str(error)
