"""Digests of what files hold: kept while the files are as they were, and never longer."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reidlab.data import contents
from reidlab.data.contents import content_digests, shared_folder
from reidlab.data.schema import table_digest
from reidlab.errors import UserError


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, own_data: Path) -> list[str]:
    """Collect the files that are read; files of this very second are remembered, as older ones are."""
    seen: list[str] = []
    digest = contents._digest

    def reading(path: str) -> str:
        seen.append(Path(path).name)
        return digest(path)

    monkeypatch.setattr(contents, "_digest", reading)
    monkeypatch.setattr(contents, "_FRESH", -(10**9))
    return seen


def write(folder: Path, count: int = 3) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.jpg" for i in range(count)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [str(path) for path in paths]


def test_files_are_read_once(tmp_path: Path, reads: list[str]) -> None:
    paths = write(tmp_path / "a")
    wanted = [hashlib.sha256(Path(path).name.encode()).hexdigest()[:32] for path in paths]
    assert content_digests(paths) == wanted and sorted(reads) == ["0.jpg", "1.jpg", "2.jpg"]
    assert content_digests(paths[::-1] + paths[:1]) == [*wanted[::-1], wanted[0]]
    assert content_digests([]) == []
    assert len(reads) == 3
    Path(paths[1]).write_bytes(b"x.jpg")  # as many bytes
    assert content_digests(paths)[1] != wanted[1] and reads[3:] == ["1.jpg"]


def test_a_change_that_hides_its_time_is_seen(tmp_path: Path, reads: list[str]) -> None:
    """As `cp -p` and `touch -r` do it; the time of change cannot be set."""
    (path,) = write(tmp_path / "a", 1)
    (before,) = content_digests([path])
    about = Path(path).stat()
    while Path(path).stat().st_ctime_ns == about.st_ctime_ns:  # a tick of the file system's clock
        Path(path).write_bytes(b"1.jpg")
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert Path(path).stat().st_mtime_ns == about.st_mtime_ns
    assert content_digests([path]) != [before]


def test_a_file_changed_just_now_is_not_remembered(tmp_path: Path, reads: list[str], monkeypatch) -> None:
    monkeypatch.setattr(contents, "_FRESH", 10**12)
    paths = write(tmp_path / "a")
    assert content_digests(paths) == content_digests(paths)
    assert len(reads) == 6


def test_a_copy_has_the_same_digest(tmp_path: Path, reads: list[str]) -> None:
    def digest(paths: list[str]) -> str:
        return table_digest(pd.DataFrame({"path": paths, "pid": [1, 2, 3], "split": "train"}))

    paths = write(tmp_path / "a")
    first = digest(paths)
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c")
    assert digest([str(tmp_path / "b" / "c" / Path(path).name) for path in paths]) == first
    os.utime(paths[0], (1, 1))
    assert digest(paths) == first


def test_24_bitmaps_of_one_size_overwritten_by_black_ones(tmp_path: Path, own_data: Path) -> None:
    """They were served as before once: the digest held their sizes alone."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i:02d}.bmp" for i in range(24)]
    table = pd.DataFrame({"path": [str(path) for path in paths], "pid": range(24), "split": "train"})
    for path in paths:
        Image.fromarray(rng.integers(1, 256, (32, 16, 3), dtype=np.uint8)).save(path)
    before, size = table_digest(table), paths[0].stat().st_size
    for path in paths:
        Image.new("RGB", (16, 32)).save(path)
    assert paths[0].stat().st_size == size
    assert table_digest(table) != before


def test_a_scale_is_part_of_the_digest(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": write(tmp_path / "a"), "pid": [1, 2, 3], "split": "train"})
    assert len({table_digest(frame) for frame in (table, table.assign(value_range=255.0))}) == 2
    assert table_digest(table.assign(value_range=255.0)) != table_digest(table.assign(value_range=4095.0))


def test_what_cannot_be_read_has_a_digest_and_what_is_missing_is_named(tmp_path: Path, own_data: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (found,) = content_digests([str(tmp_path / "folder.jpg")])
    assert found.startswith("unreadable: ")
    for name in ("gone.jpg", "nul\0.jpg"):
        with pytest.raises(UserError, match=name.replace("\0", "?").partition("?")[0]):
            content_digests([str(tmp_path / name)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path, own_data: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert content_digests([str(tmp_path / "pipe")]) == ["unreadable: it is no regular file"]


@pytest.mark.parametrize("damage", ["text", "cut", "other table"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, reads: list[str], damage: str) -> None:
    paths = write(tmp_path / "a")
    first = content_digests(paths)
    cache = contents._cache()
    if damage == "other table":
        cache.unlink()
        with sqlite3.connect(cache) as made:
            made.execute("CREATE TABLE contents (something TEXT)")
        made.close()
    else:
        whole = cache.read_bytes()
        cache.write_bytes(b"no database at all" * 100 if damage == "text" else whole[: len(whole) // 2])
    for _ in range(3):  # taken away, made again, in use
        assert content_digests(paths) == first
    reads.clear()
    assert content_digests(paths) == first and reads == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, own_data: Path, reads, caplog) -> None:
    (own_data / "cache").write_text("a file")
    paths = write(tmp_path / "a")
    with caplog.at_level(logging.WARNING):
        assert content_digests(paths) == content_digests(paths)
    assert "are not kept in" in caplog.text and len(reads) == 6


def test_the_folder_that_files_share(tmp_path: Path) -> None:
    assert shared_folder([str(tmp_path / "a" / "x"), str(tmp_path / "b" / "x")]) == str(tmp_path)
    assert shared_folder(["x", str(Path.cwd() / "y")]) == str(Path.cwd())
    assert shared_folder([]) == ""
