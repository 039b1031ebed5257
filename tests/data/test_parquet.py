"""Parquet files are written whole or not at all, and damaged ones are refused before anything is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reidlab.data.parquet import arrow_of, frame_of, read_arrow, read_frame, write_arrow
from reidlab.errors import UserError


def test_written_and_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x", "é"], "b": [1, 2], "c": pd.Series([np.float16(0.5), None], dtype=object)})
    write_arrow(arrow_of(frame, "The frame"), tmp_path / "new" / "t.parquet")
    again = read_frame(tmp_path / "new" / "t.parquet")
    assert again["a"].tolist() == ["x", "é"] and again["b"].tolist() == [1, 2] and again["c"].iloc[0] == 0.5
    assert isinstance(frame["c"].iloc[0], np.float16), "the frame given is not changed"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["t.parquet"]


def test_numbers_beside_dates_are_refused() -> None:
    """pyarrow 26 crashes on them, and Python with it."""
    mixed = pd.DataFrame({"a": pd.Series([None, np.datetime64("2020-01-01"), np.float16(1)], dtype=object)})
    with pytest.raises(UserError, match="The frame cannot be saved as parquet"):
        arrow_of(mixed, "The frame")


def test_nothing_is_left_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="No space left"):
        write_arrow(arrow_of(pd.DataFrame({"a": [1]}), "It"), tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    damaged = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    pq.write_table(pa.table({"a": damaged}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet is not a readable parquet file .*UTF8"):
        read_arrow(tmp_path / "t.parquet")


def test_damaged_words_for_pandas(tmp_path: Path) -> None:
    arrow = pa.table({"a": [1]}).replace_schema_metadata({b"pandas": b"no JSON"})
    with pytest.raises(UserError, match=r"t\.parquet holds no readable table"):
        frame_of(arrow, tmp_path / "t.parquet")
