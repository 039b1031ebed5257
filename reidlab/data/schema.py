"""The image table: one pandas frame, a row per image, the only description of a data set.

Identities are all int64 (public data sets) or all str (user data), never both; -1 or "-1" is junk. `reidlab.ids`
defines what can be one.
Distractors are the rows whose `distractor` column is True: the number 0 alone says nothing, because some data
sets count people from 0. No camera column: no camera is known, and no camera rule can be applied.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from reidlab.data._columns import flags, labels, numbers, plain, refuse, refuse_unwritable, texts
from reidlab.data.contents import RANGE, content_digests, shared_folder
from reidlab.data.parquet import arrow_of, frame_of, read_arrow, write_arrow
from reidlab.errors import UserError, nearest, shown
from reidlab.ids import writable

__all__ = [
    "COLUMNS",
    "JUNK",
    "REQUIRED",
    "SCHEMA_VERSION",
    "SPLITS",
    "TEST_SPLITS",
    "TRAIN_SPLITS",
    "check_table",
    "is_distractor",
    "is_junk",
    "load_table",
    "notes_of",
    "save_table",
    "summarise",
    "table_digest",
]

SCHEMA_VERSION = 1
JUNK = -1
TRAIN_SPLITS = ("train", "val")
TEST_SPLITS = ("query", "gallery", "multi_query")
SPLITS = TRAIN_SPLITS + TEST_SPLITS
REQUIRED = ("path", "pid", "split")
COLUMNS = {
    "path": "absolute path of the image file",
    "pid": "identity, all int64 or all str; -1 or '-1' is junk",
    "camid": "camera, all int64 or all str; the column is absent where no camera is known",
    "split": "train, val, query, gallery or multi_query",
    "sequence": "number of the recording, -1 unknown",
    "frame": "number of the frame in it, -1 unknown",
    "dataset": "the name it was read by",
}


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return an image table in its normal form, checked; the input frame is not changed.

    Normal form: RangeIndex; the columns of `COLUMNS` first (missing `sequence`, `frame` become -1, a missing
    `dataset` becomes ""), the others behind them as they came; pid and camid int64 or str; a camera column
    that is wholly null or empty removed. `attrs` are kept.

    Raises:
        UserError: a column is missing, or has rows that break its rule; the first five are named.
    """
    if not isinstance(table, pd.DataFrame):
        raise UserError(f"An image table is a pandas DataFrame, not {type(table).__name__}.")
    _check_columns(table)
    refuse_unwritable(table)
    checked = pd.DataFrame({"path": texts(table, "path"), "pid": labels(table, "pid")}, index=table.index)
    split = texts(table, "split")
    refuse(split, ~split.isin(SPLITS), "split", f"is none of {', '.join(SPLITS)}")
    cameras = _cameras(table)
    if cameras is not None:
        checked["camid"] = cameras
    checked["split"] = split
    for column in ("sequence", "frame"):
        checked[column] = numbers(table, column)
    checked["dataset"] = plain(table["dataset"]).astype(object).fillna("").astype(str) if "dataset" in table else ""
    if "distractor" in table:
        checked["distractor"] = flags(table, "distractor")
    done = set(checked.columns) | {"camid"}
    for column in [name for name in table.columns if name not in done]:
        checked[column] = table[column]
    pid = checked["pid"]
    if pd.api.types.is_integer_dtype(pid):
        refuse(pid, pid < JUNK, "pid", "is below -1 (identities count from 0 up; -1 is junk)")
    _check_camera_numbers(checked)
    repeated = checked.duplicated(["path", "split"], keep="first")
    refuse(checked["path"], repeated, "path", "is listed already with the same split")
    checked = checked.reset_index(drop=True)
    checked.attrs = dict(table.attrs)
    return checked


def _check_columns(table: pd.DataFrame) -> None:
    names = table.columns.tolist()
    odd = [name for name in names if not isinstance(name, str) or not writable(name)]
    if odd:
        raise UserError(f"The image table has a column named {shown(odd[0])}. The names of columns are text.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"The image table has the column {twice[0]!r} more than once.")
    for column in REQUIRED:
        if column not in names:
            raise UserError(
                f"The image table has no column {column!r}.{nearest(column, names)} "
                f"It needs {', '.join(REQUIRED)}; it has {', '.join(names) or 'none'}."
            )


def _cameras(table: pd.DataFrame) -> pd.Series | None:
    """Return the camera column, or None where it is absent or says nothing at all."""
    if "camid" not in table:
        return None
    values = plain(table["camid"])
    absent = values.isna() | values.map(lambda value: isinstance(value, str) and not value.strip()).astype(bool)
    if absent.all() and len(values):
        return None
    refuse(values, absent, "camid", "is empty (give every image a camera, or none)")
    return labels(table, "camid")


def _check_camera_numbers(checked: pd.DataFrame) -> None:
    """Refuse negative cameras, save the -1 of a distractor or junk image: no rule ever looks at those."""
    if "camid" in checked and pd.api.types.is_integer_dtype(checked["camid"]):
        camid = checked["camid"]
        free = (is_distractor(checked) | is_junk(checked)) & (camid == -1)
        refuse(camid, (camid < 0) & ~free, "camid", "is negative")


def is_junk(table: pd.DataFrame) -> pd.Series:
    """Return for each row whether it is junk (pid -1 or "-1"): a box that counts neither right nor wrong."""
    pid = table["pid"]
    return pid == JUNK if pd.api.types.is_numeric_dtype(pid) else pid == str(JUNK)


def is_distractor(table: pd.DataFrame) -> pd.Series:
    """Return for each row whether it is a distractor: nobody we look for, but always a wrong answer."""
    if "distractor" not in table:
        return pd.Series(False, index=table.index)
    return table["distractor"].astype(bool)


def notes_of(table: pd.DataFrame) -> list[str]:
    """Return the notes that the reader of the data set or a later step attached to this table."""
    notes = table.attrs.get("notes")
    if notes is None:
        return []
    return [str(note) for note in (notes if isinstance(notes, list | tuple) else [notes])]


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Count images, identities and cameras by split; the last row, "all", is the whole table.

    Identities do not count junk and distractors, whose images stand in columns of their own (and are in
    `images` too). Cameras are 0 where the table knows none.
    """
    rows = {}
    for split in [*SPLITS, "all"]:
        part = table if split == "all" else table[table["split"] == split]
        if len(part) == 0 and split != "all":
            continue
        junk, distractor = is_junk(part), is_distractor(part)
        known = part["camid"] if "camid" in part else pd.Series(dtype=np.int64)
        rows[split] = {
            "images": len(part),
            "identities": part.loc[~junk & ~distractor, "pid"].nunique(),
            "cameras": int(known[known != -1].nunique()),
            "distractors": int((distractor & ~junk).sum()),
            "junk": int(junk.sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index", dtype=np.int64).rename_axis("split")


def table_digest(table: pd.DataFrame, *, contents: bool = True) -> str:
    """Return the first 16 hex digits of the SHA-256 of what the table holds, in its order.

    In it: file names below the folder that all of them share, identities, cameras, splits, the distractor flag,
    the scale of images of more than 8 bits and (with `contents`) the bytes of each file, read where they have
    changed since they were last looked at (`reidlab.data.contents`). Not in it: where that folder stands. A copy of
    a data set on another machine has the same digest; a row more, less or moved gives another one.

    Raises:
        UserError: a file is missing (with `contents`).
    """
    paths = table["path"].tolist()
    shared = shared_folder(paths)
    parts = [
        [_below(path, shared) for path in paths],
        table["pid"].tolist(),
        table["camid"].tolist() if "camid" in table else None,
        table["split"].tolist(),
        is_distractor(table).tolist(),
        table[RANGE].tolist() if RANGE in table else None,
        content_digests(paths) if contents else None,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _below(path: str, shared: str) -> str:
    return (os.path.relpath(path, shared) if shared else path).replace(os.sep, "/")


def save_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Check a table and write it as parquet, with the schema version and its notes in the metadata.

    A reader never sees a half-written file: it is written beside and then renamed.

    Raises:
        UserError: as `check_table`, or a column of other things that parquet cannot hold.
    """
    target = Path(path)
    checked = check_table(table)
    about = {"schema": SCHEMA_VERSION, "notes": notes_of(checked)}
    checked.attrs = {}
    arrow = arrow_of(checked, "The image table")
    write_arrow(
        arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"reidlab": json.dumps(about).encode()}), target
    )
    return target


def load_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that `save_table` wrote.

    Raises:
        UserError: there is no such file, it is damaged, it is another parquet file, or of a later schema.
    """
    source = Path(path)
    if not source.is_file():
        raise UserError(f"There is no image table at {source}.")
    arrow = read_arrow(source)
    about = (arrow.schema.metadata or {}).get(b"reidlab")
    if about is None:
        raise UserError(
            f"{source} is a parquet file, but reidlab.data.schema.save_table did not write it. "
            "Read a table of your own with reidlab.data.read('table', path)."
        )
    version, notes = _about(source, about)
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{source} has schema version {version}; this reidlab knows up to {SCHEMA_VERSION}. Update reidlab."
        )
    table = frame_of(arrow, source)
    table.attrs = {"notes": notes} if notes else {}
    return check_table(table)


def _about(source: Path, about: bytes) -> tuple[int, list[str]]:
    """Read what `save_table` noted about a table: schema version, notes."""
    try:
        found = json.loads(about)
        version, notes = found["schema"], found["notes"]
        if isinstance(version, int) and isinstance(notes, list) and all(isinstance(note, str) for note in notes):
            return version, notes
    except (LookupError, TypeError, ValueError, RecursionError):
        pass
    raise UserError(f"{source} has no readable metadata (schema version, notes). Make it again.")
