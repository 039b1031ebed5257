"""The image table: what is refused, with which words, and what survives saving."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.data.schema import (
    COLUMNS,
    check_table,
    is_distractor,
    is_junk,
    load_table,
    notes_of,
    save_table,
    summarise,
    table_digest,
)
from reidlab.errors import UserError


def table(**columns: object) -> pd.DataFrame:
    rows = {
        "path": ["/d/a.jpg", "/d/b.jpg", "/d/c.jpg"],
        "pid": [1, 1, 2],
        "camid": [1, 2, 1],
        "split": "train",
    }
    rows.update(columns)
    return pd.DataFrame({name: values for name, values in rows.items() if values is not None})


def test_the_normal_form() -> None:
    given_table = table(pid=[1.0, 2.0, -1.0], colour=["red", "blue", None])[::-1]
    before = given_table.copy()
    checked = check_table(given_table)
    assert list(checked.columns) == [*COLUMNS, "colour"]
    assert checked.index.equals(pd.RangeIndex(3))
    assert checked["pid"].dtype == np.int64 and checked["pid"].tolist() == [-1, 2, 1]
    assert checked["sequence"].tolist() == [-1, -1, -1] and checked["frame"].dtype == np.int64
    assert checked["dataset"].tolist() == ["", "", ""]
    pd.testing.assert_frame_equal(given_table, before)
    pd.testing.assert_frame_equal(check_table(checked), checked)


def test_text_labels_and_paths_of_pathlib() -> None:
    checked = check_table(table(path=[Path("/d/a"), Path("/d/b"), "/d/c"], pid=["a", "-1", "007"], camid=list("xyz")))
    assert checked["path"].tolist() == ["/d/a", "/d/b", "/d/c"]
    assert checked["pid"].tolist() == ["a", "-1", "007"]
    assert is_junk(checked).tolist() == [False, True, False]


def test_categorical_columns_become_what_they_hold() -> None:
    checked = check_table(table(pid=pd.Categorical([5, 5, 7]), split=pd.Categorical(["train"] * 3)))
    assert checked["pid"].tolist() == [5, 5, 7] and checked["pid"].dtype == np.int64


@pytest.mark.parametrize("camid", [None, [None] * 3, [np.nan] * 3, ["", " ", None]])
def test_no_camera_is_no_column(camid: object) -> None:
    assert "camid" not in check_table(table(camid=camid))


def test_attrs_are_kept() -> None:
    frame = table()
    frame.attrs["notes"] = ["partial"]
    assert notes_of(check_table(frame)) == ["partial"]
    assert notes_of(table()) == []


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": None}, ["no column 'path'"]),
        ({"pid": None, "pids": [1, 2, 3]}, ["no column 'pid'", "Did you mean 'pids'?"]),
        ({"split": None}, ["no column 'split'"]),
        ({"path": ["/d/a", None, "/d/c"]}, ["'path' is null", "row 1"]),
        ({"path": ["/d/a", " ", "/d/c"]}, ["'path' is empty", "row 1"]),
        ({"path": ["/d/a", 5, "/d/c"]}, ["'path' is not text", "row 1: 5"]),
        ({"path": ["/d/a", "/d/c", "/d/c"]}, ["'path'", "row 2: '/d/c'"]),
        ({"split": ["train", "tets", "val"]}, ["'split' is none of train, val", "row 1: 'tets'"]),
        ({"pid": [1, None, 2]}, ["'pid' is null", "row 1"]),
        ({"pid": [1, 2, "x"]}, ["'pid' is not a number, as the first row is", "row 2: 'x'"]),
        ({"pid": ["x", 2, 3.0]}, ["'pid' is not text, as the first row is", "in 2 of 3 rows", "row 1: 2"]),
        ({"pid": [1.0, 2.5, 3.0]}, ["'pid' is not a whole number", "row 1: ", "2.5"]),
        ({"pid": [1.0, np.inf, 3.0]}, ["'pid' is not a whole number", "inf"]),
        ({"pid": [True, False, True]}, ["'pid' is true or false"]),
        ({"pid": [(1,), (2,), (3,)]}, ["'pid' is neither a number nor text"]),
        ({"pid": ["a", "", "b"]}, ["'pid' is empty", "row 1"]),
        ({"pid": [1, -2, 3]}, ["'pid' is below -1", "row 1: "]),
        ({"camid": [1, None, 2]}, ["'camid' is empty", "row 1"]),
        ({"camid": [1, "c2", 2]}, ["'camid' is not a number", "row 1: 'c2'"]),
        ({"camid": [1, -1, 2]}, ["'camid' is negative", "row 1"]),
        ({"frame": ["1", "x", "2"]}, ["'frame' is not a number", "row 1: 'x'"]),
        ({"frame": [1, 2.5, 2]}, ["'frame' is not a whole number", "row 1"]),
        (
            {"distractor": [True, "maybe", False]},
            ["'distractor' is neither true nor false", "row 1: 'maybe'"],
        ),
        ({"distractor": [True, None, False]}, ["'distractor' is neither true nor false", "row 1"]),
        ({"pid": [1, 2**70, 3]}, ["'pid' is beyond the range of 64-bit integers", "row 1: 1180591620717411303424"]),
        (
            {"pid": np.array([1, 2**64 - 1, 3], dtype=np.uint64)},
            ["beyond the range of 64-bit", "row 1: 18446744073709551615"],
        ),
        ({"pid": [1.0, 1e300, 3.0]}, ["'pid' is too large a float", "row 1: 1e+300"]),
        ({"pid": pd.array([1, None, 3], dtype="Int64")}, ["'pid' is null", "row 1: <NA>"]),
        ({"camid": [1.0, np.inf, 3.0]}, ["'camid' is not a whole number", "row 1: inf"]),
        ({"camid": [1, 2**70, 3]}, ["'camid' is beyond the range of 64-bit"]),
        ({"pid": [1j, 2j, 3j]}, ["'pid' is neither a number nor text", "row 0: 1j"]),
        ({"path": [1, 2, 3]}, ["'path' is not text", "in 3 of 3 rows: row 0: 1"]),
        ({"path": [Path("/d/a"), b"/d/b", "/d/c"]}, ["'path' is not text", "row 1: b'/d/b'"]),
        ({"path": ["/d/a", "/d/\0b", "/d/c"]}, ["'path' holds a null character", "row 1: '/d/\\x00b'"]),
        ({"frame": [1, 2**70, 2]}, ["'frame' is too large a number"]),
        ({"frame": [1.0, 1e300, 2.0]}, ["'frame' is too large a number", "1e+300"]),
        ({"frame": [1, np.inf, 2]}, ["'frame' is not a whole number"]),
        ({"frame": [1, (2,), 2]}, ["'frame' is not a number", "row 1: (2,)"]),
        ({"frame": np.array([1, 2**63, 2], dtype=np.uint64)}, ["'frame' is beyond the range of 64-bit"]),
        ({"pid": [10**5000, 2, 3]}, ["'pid' is beyond the range of 64-bit", "row 0: <int>"]),
    ],
)
def test_bad_tables_name_the_column_and_the_rows(columns: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        check_table(table(**columns))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("column", ["path", "pid", "camid", "split", "dataset", "note"])
def test_text_that_no_file_can_hold(column: str) -> None:
    """File names that are not UTF-8 come as halves of surrogate pairs; parquet would fail on them much later."""
    bad = pd.Series(["/d/a", "/d/\udcffb", "/d/c"], dtype=object)
    with pytest.raises(UserError, match=rf"{column}.* half a surrogate pair.* in 1 of 3 rows: row 1: '/d/\\udcffb'"):
        check_table(table().assign(**{column: bad}))


def test_ids_are_tidied() -> None:
    checked = check_table(table(pid=["7 ", "7", "caf\u00e9"], camid=[" 1", "1", "cafe\u0301"]))
    assert checked["pid"].tolist() == ["7", "7", "caf\u00e9"] and checked["camid"].tolist() == ["1", "1", "caf\u00e9"]
    mixed = check_table(table(pid=pd.Series([1, 1.0, np.int8(2)], dtype=object)))
    assert mixed["pid"].tolist() == [1, 1, 2] and mixed["pid"].dtype == np.int64


def test_null_and_categorical_data_set_names() -> None:
    assert check_table(table(dataset=pd.Categorical(["a", None, "b"])))["dataset"].tolist() == ["a", "", "b"]
    assert check_table(table(frame=pd.array([1, None, 3], dtype="Int64")))["frame"].tolist() == [1, -1, 3]
    assert check_table(table(frame=["1", "2.0", None]))["frame"].tolist() == [1, 2, -1]


def test_notes_of_any_kind() -> None:
    frame = table()
    for notes, wanted in [
        ("one", ["one"]),
        (("a", 1), ["a", "1"]),
        ([], []),
        (None, []),
        (3, ["3"]),
        (pd.NA, ["<NA>"]),
    ]:
        frame.attrs["notes"] = notes
        assert notes_of(check_table(frame)) == wanted


def test_only_five_rows_are_named_and_the_index_of_the_user_is_kept() -> None:
    frame = pd.DataFrame({"path": [f"/{i}" for i in range(9)], "pid": None, "split": "train"}, index=range(100, 109))
    with pytest.raises(UserError, match=r"in 9 of 9 rows: row 100: None; .*row 104: None; and 4 more\.$"):
        check_table(frame)


@pytest.mark.parametrize("name", [3, None, pd.NA, float("nan"), ("a", "b"), "\udcff"])
def test_names_of_columns_are_text(name: object) -> None:
    frame = table()
    frame.columns = pd.Index([*frame.columns[:-1], name], dtype=object)
    with pytest.raises(UserError, match=r"has a column named .* The names of columns are text"):
        check_table(frame)


def test_other_things_are_refused() -> None:
    with pytest.raises(UserError, match="not list"):
        check_table([1])  # type: ignore[arg-type]
    twice = pd.concat([table(), table()[["pid"]]], axis=1)
    with pytest.raises(UserError, match="'pid' more than once"):
        check_table(twice)


def test_the_same_image_may_stand_in_two_splits() -> None:
    checked = check_table(table(path=["/a", "/a", "/b"], split=["query", "multi_query", "query"]))
    assert len(checked) == 3


def test_a_distractor_may_have_no_camera() -> None:
    checked = check_table(table(camid=[1, -1, -1], pid=[1, 0, -1], distractor=[False, True, False]))
    assert summarise(checked).loc["all", "cameras"] == 1


def test_summarise_shows_junk_and_distractors_apart() -> None:
    frame = check_table(
        pd.DataFrame(
            {
                "path": [f"/{i}" for i in range(7)],
                "pid": [1, 1, 2, 3, 3, 0, -1],
                "camid": [1, 2, 1, 1, 2, 3, 4],
                "split": ["train"] * 3 + ["query"] + ["gallery"] * 3,
                "distractor": [False] * 5 + [True, False],
            }
        )
    )
    counts = summarise(frame)
    assert counts.index.tolist() == ["train", "query", "gallery", "all"]
    assert counts.loc["train"].tolist() == [3, 2, 2, 0, 0]
    assert counts.loc["gallery"].tolist() == [3, 1, 3, 1, 1]
    assert counts.loc["all"].tolist() == [7, 3, 4, 1, 1]
    assert is_distractor(frame).sum() == 1 and not is_distractor(table()).any()
    assert summarise(table(camid=None)).loc["all", "cameras"] == 0


def images(folder: Path, names: list[str]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [str(folder / name) for name in names]


def test_the_digest_knows_the_content_and_not_the_place(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "cc.jpg"]
    here, there = table(path=images(tmp_path / "x", names)), table(path=images(tmp_path / "y" / "z", names))
    digest = table_digest(here)
    assert digest == table_digest(there) and len(digest) == 16
    assert table_digest(here[::-1]) != digest
    assert table_digest(here.assign(pid=[1, 2, 2])) != digest
    assert table_digest(here.assign(camid=[1, 1, 1])) != digest
    assert table_digest(here.assign(split="val")) != digest
    assert table_digest(here.drop(columns="camid")) != digest
    assert table_digest(here.assign(distractor=[False, False, True])) != digest
    assert table_digest(here.assign(colour="red")) == digest
    (tmp_path / "x" / "a.jpg").write_bytes(b"another size")
    assert table_digest(here) != digest
    (tmp_path / "x" / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"a\.jpg"):
        table_digest(here)
    assert len(table_digest(here, contents=False)) == 16
    assert len(table_digest(check_table(here[:0]))) == 16


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.one_of(st.integers(-1, 99)), min_size=1, max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_saving_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, pids: list[int], text: bool, cams: bool
) -> None:
    frame = pd.DataFrame({"path": [f"/ä/{i}.jpg" for i in range(len(pids))], "pid": pids, "split": "gallery"})
    frame["frame"] = range(len(pids))
    if text:
        frame["pid"] = frame["pid"].astype(str)
    if cams:
        frame["camid"] = frame["pid"].abs() if not text else frame["pid"]
    frame.attrs["notes"] = ["a note"]
    path = save_table(frame, tmp_path_factory.mktemp("t") / "new" / "table.parquet")
    loaded = load_table(path)
    pd.testing.assert_frame_equal(loaded, check_table(frame))
    assert notes_of(loaded) == ["a note"]
    assert [file.name for file in path.parent.iterdir()] == ["table.parquet"]


def test_foreign_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no image table at"):
        load_table(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match="not a readable parquet file"):
        load_table(tmp_path / "text.parquet")
    table().to_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(UserError, match="save_table did not write it"):
        load_table(tmp_path / "foreign.parquet")
    later = pa.Table.from_pandas(table()).replace_schema_metadata({b"reidlab": b'{"schema": 99, "notes": []}'})
    pq.write_table(later, tmp_path / "later.parquet")
    with pytest.raises(UserError, match="schema version 99"):
        load_table(tmp_path / "later.parquet")
    good = save_table(table(), tmp_path / "good.parquet")
    good.write_bytes(good.read_bytes()[:-40])
    with pytest.raises(UserError, match="not a readable parquet file"):
        load_table(good)


@pytest.mark.parametrize(
    "about",
    [b"", b"no", b"[]", b"3", b'{"schema": 1}', b'{"schema": "1", "notes": []}', b'{"schema": 1, "notes": [3]}'],
)
def test_tables_with_damaged_words_about_themselves(tmp_path: Path, about: bytes) -> None:
    pq.write_table(pa.Table.from_pandas(table()).replace_schema_metadata({b"reidlab": about}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="has no readable metadata"):
        load_table(tmp_path / "t.parquet")


def test_tables_with_damaged_words_for_pandas(tmp_path: Path) -> None:
    about = {b"reidlab": b'{"schema": 1, "notes": []}', b"pandas": b'{"columns": 3}'}
    pq.write_table(pa.Table.from_pandas(table()).replace_schema_metadata(about), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="holds no readable table"):
        load_table(tmp_path / "t.parquet")


def test_what_parquet_cannot_hold(tmp_path: Path) -> None:
    for other in (
        [np.float16(1), np.datetime64("2020-01-01"), None],
        [object(), 1, 2],
        [1, "a", 2],
        [2**70, 1, 2],
        [1j, 1, 2],
    ):
        with pytest.raises(UserError, match="cannot be saved as parquet"):
            save_table(table(other=pd.Series(other, dtype=object)), tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def test_a_bad_table_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        save_table(table(split="nowhere"), tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def test_importing_is_cheap() -> None:
    code = "import sys, reidlab.data; print([m for m in ('torch', 'pandas', 'PIL') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    code = "import sys; from reidlab.data import read; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_unknown_names_of_the_package() -> None:
    import reidlab.data

    assert "read" in dir(reidlab.data)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = reidlab.data.nothing_here
