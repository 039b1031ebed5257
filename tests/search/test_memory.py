"""The memory of vectors: kept batch by batch, found again, made anew where it is damaged."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from reidlab.search.memory import Memory, Remembered, as_vector


def row(path: str, value: float = 1.0) -> Remembered:
    return Remembered(path, "state", "digest", "", np.full(3, value, "<f4").tobytes())


def test_what_was_kept_is_known(memory: Memory) -> None:
    assert list(memory.known(["/a"])) == []
    memory.keep([row("/x/a"), row("/x/b", 2.0), row("/y/c")])
    memory.keep([row("/x/b", 5.0)])
    assert sorted(memory.known(["/x/a", "/x/b", "/x/gone"])) == [row("/x/a"), row("/x/b", 5.0)]
    assert as_vector(row("/x/b", 5.0).vector).tolist() == [5.0, 5.0, 5.0]


def test_many_files_are_asked_for_by_folder(memory: Memory) -> None:
    paths = [f"/x/{number:05d}" for number in range(2500)]
    memory.keep([row(path, number) for number, path in enumerate(paths)])
    memory.keep([row("/x0/other"), row("/w")])
    known = {each.path: each for each in memory.known(paths[::2])}
    assert list(known) == paths[::2]
    assert as_vector(known["/x/02498"].vector)[0] == 2498


def test_names_that_are_no_text_are_kept(memory: Memory) -> None:
    odd = "/x/\udcff\udcfe.jpg"
    memory.keep([row(odd)])
    assert [each.path for each in memory.known([odd])] == [odd]


@pytest.mark.parametrize("content", [b"no database at all, but some text" * 40, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_file_is_made_again(memory: Memory, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    memory.file.parent.mkdir()
    memory.file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert list(memory.known(["/x/a"])) == []
    assert "is damaged" in caplog.text
    memory.keep([row("/x/a")])
    assert list(memory.known(["/x/a"])) == [row("/x/a")]


def test_a_table_of_something_else_does_no_harm(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    memory.file.parent.mkdir()
    with sqlite3.connect(memory.file) as other:
        other.execute("CREATE TABLE vectors (only INTEGER)")
    other.close()
    assert list(memory.known(["/x/a"])) == []
    memory.keep([row("/x/a")])
    memory.keep([row("/x/a")])
    assert list(memory.known(["/x/a"])) == [row("/x/a")]


def test_where_nothing_can_be_written_it_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    memory = Memory("m", tmp_path / "file" / "below")
    with caplog.at_level(logging.WARNING):
        memory.keep([row("/x/a")])
        memory.keep([row("/x/b")])
    assert caplog.text.count("the next search computes them again") == 1
    assert list(memory.known(["/x/a"])) == []
