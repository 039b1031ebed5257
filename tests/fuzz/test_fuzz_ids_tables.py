"""Any identities, cameras and tables end in a result or in a UserError."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz_cases import ends_well, fuzz, junk, junk_array, junk_scalar, junk_text
from hypothesis import assume, example, given
from hypothesis import strategies as st

from reidlab.data.datasets import read
from reidlab.data.schema import check_table, load_table, save_table, summarise, table_digest
from reidlab.errors import UserError
from reidlab.ids import as_ids, codes

COLUMNS = ("path", "pid", "camid", "split", "sequence", "frame", "dataset", "distractor", "other")


@fuzz(100)
@given(junk())
def test_messages_quote_anything(value: Any) -> None:
    def call() -> None:
        raise UserError(f"{value!r} is not allowed.")

    assert isinstance(ends_well(call), UserError)


@fuzz(400)
@given(junk() | junk_array())
@example([1e300, 2e300])
@example(np.array([2**64 - 1], dtype=np.uint64))
@example([10**5000])
@example(["\ud800"])
@example(np.ma.masked_all(2))
def test_ids(value: Any) -> None:
    found = ends_well(lambda: as_ids("pids", value))
    if not isinstance(found, UserError):
        assert found.dtype in (np.int64, object) and found.ndim == 1
        assert as_ids("pids", found).tolist() == found.tolist()
        json.dumps(found.tolist()).encode()
        same = codes(value)[0]
        assert [(a == b) for a in same for b in same] == [a == b for a in found.tolist() for b in found.tolist()]


@fuzz(150)
@given(junk_array(), junk_array())
def test_codes_of_two_lists(left: Any, right: Any) -> None:
    found = ends_well(lambda: codes(left, right))
    assert isinstance(found, UserError) or [len(part) for part in found] == [len(left), len(right)]


def values(n: int) -> st.SearchStrategy[Any]:
    """Return a column of n values: junk, or what belongs there, as lists and as pandas keeps them."""
    anything = st.lists(junk_scalar(), min_size=n, max_size=n).map(lambda items: pd.Series(items, dtype=object))
    numbers = st.lists(st.integers(-2, 3) | st.floats(width=32), min_size=n, max_size=n).map(pd.Series)
    texts = st.lists(st.sampled_from(["a", "b ", " ", "-1", "train", "query", "/x/y"]), min_size=n, max_size=n)
    nullable = st.lists(st.integers(-1, 2) | st.none(), min_size=n, max_size=n)
    return st.one_of(
        anything,
        numbers,
        texts,
        texts.map(pd.Categorical),
        nullable.map(lambda items: pd.array(items, dtype="Int64")),
    )


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Return frames that are image tables but for a few columns."""
    n = draw(st.integers(0, 4))
    good: dict[str, Any] = {"path": [f"/d/{i}.jpg" for i in range(n)], "pid": [1] * n, "split": ["train"] * n}
    for column in draw(st.sets(st.sampled_from(COLUMNS), max_size=4)):
        good[column] = draw(values(n))
    frame = pd.DataFrame({name: pd.Series(column) for name, column in good.items()})
    if draw(st.integers(0, 9)) == 0:
        frame.columns = pd.Index([*frame.columns[:-1], draw(junk_scalar().filter(_hashable))], dtype=object)
    if draw(st.booleans()):
        frame.attrs["notes"] = draw(st.lists(junk_text(), max_size=2) | junk_scalar())
    return frame


def _hashable(value: Any) -> bool:
    return getattr(type(value), "__hash__", None) is not None


@fuzz(250)
@given(frame=tables())
def test_tables(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> None:
    checked = ends_well(lambda: check_table(frame))
    if isinstance(checked, UserError):
        return
    pd.testing.assert_frame_equal(check_table(checked), checked)
    ends_well(lambda: summarise(checked))
    ends_well(lambda: table_digest(checked, contents=False))
    path = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    saved = ends_well(lambda: save_table(checked, path))
    if not isinstance(saved, UserError):
        loaded = load_table(path)
        for column in ("path", "pid", "split"):
            assert loaded[column].tolist() == checked[column].tolist()


@fuzz(100)
@given(junk())
def test_things_that_are_no_table(value: Any) -> None:
    assert isinstance(ends_well(lambda: check_table(value)), UserError)


@fuzz(200)
@given(
    st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=80),
        st.lists(st.lists(junk_text(), max_size=4).map(",".join), max_size=5).map("path,pid,camid,split\n{}".format),
        st.lists(st.lists(st.sampled_from(["a.jpg", "1", "7 ", "", " ", '"', "query"]), max_size=5).map(",".join)).map(
            lambda lines: "\n".join(["path,pid,camid,split", *lines])
        ),
    ),
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
    st.booleans(),
)
@example("path,pid\n", "utf-8", False)
@example("path,pid\na.jpg,1,2\n", "utf-8", False)
def test_csv(tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str, check_files: bool) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.csv"
    file.write_bytes(text.encode(encoding, "replace"))
    found = ends_well(lambda: read("table", file, check_files=check_files))
    assert isinstance(found, UserError) or (len(found) and found["pid"].map(type).eq(str).all())


@fuzz(150)
@given(frame=tables())
def test_parquet(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz_own.parquet"
    frame.attrs = {}
    assume(not any(isinstance(value, np.float16) for _, column in frame.items() for value in column))  # crashes pyarrow
    try:
        with warnings.catch_warnings(action="ignore"):
            frame.to_parquet(file)
    except (pa.ArrowException, LookupError, TypeError, ValueError, OverflowError, AttributeError):
        assume(False)
    ends_well(lambda: read("table", file, check_files=False))


@fuzz(150)
@given(
    about=st.binary(max_size=40) | junk_text().map(lambda text: json.dumps({"schema": text}).encode()),
    at=st.integers(0, 3000),
)
@example(about=b'{"schema": 1, "notes": 3}', at=0)
@example(about=b'{"schema": 1}', at=0)
@example(about=b"[]", at=0)
def test_damaged_tables(tmp_path_factory: pytest.TempPathFactory, about: bytes, at: int) -> None:
    file: Path = tmp_path_factory.getbasetemp() / "fuzz_damaged.parquet"
    frame = pd.DataFrame({"path": ["/a", "/b"], "pid": [1, 2], "split": "train"})
    arrow = pa.Table.from_pandas(frame)
    pq.write_table(arrow.replace_schema_metadata({b"reidlab": about, b"pandas": about}), file)
    ends_well(lambda: load_table(file))
    save_table(frame, file)
    content = bytearray(file.read_bytes())
    content[at % len(content)] ^= 0xFF
    file.write_bytes(bytes(content))
    ends_well(lambda: load_table(file))
