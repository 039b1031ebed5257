"""Your own images, listed in a CSV or parquet file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pandas as pd

from reidlab.data._columns import labels, plain, refuse_unwritable, texts
from reidlab.data.datasets._common import assemble
from reidlab.data.datasets._own import NO_CAMERA, NO_SPLIT
from reidlab.data.parquet import read_frame
from reidlab.errors import UserError, nearest

__all__ = ["read_table"]

_LABELS = ("path", "pid", "camid", "split")


def read_table(root: Path, *, check_files: bool = True) -> pd.DataFrame:
    """Read a table with the columns path and pid, and camid, split and any others if known.

    Identities and cameras become text as they are written ("007" stays "007"). Relative paths count from the
    folder of the table. CSV may be separated by commas, semicolons or tabs.

    Args:
        root: the .csv, .tsv or .parquet file.
        check_files: refuse a table that names missing files.
    """
    if not root.is_file():
        raise UserError(f"table: there is no file {root}. Give a .csv or .parquet file with the columns path, pid.")
    rows = _read(root)
    for column in ("path", "pid"):
        if column not in rows:
            raise UserError(
                f"{root} has no column {column!r}.{nearest(column, rows.columns)} "
                f"It has: {', '.join(map(str, rows.columns))}."
            )
    if not len(rows):
        raise UserError(f"{root} lists no images: it has the columns {', '.join(map(str, rows.columns))} and no row.")
    refuse_unwritable(rows)
    rows = rows.assign(path=texts(rows, "path"))
    for column in ("pid", "camid"):
        if column in rows:
            rows[column] = _as_text(rows, column)
    rows["path"] = [
        os.path.normpath(root.parent / os.path.expanduser(path))  # noqa: PTH111
        for path in rows["path"]
    ]
    notes = []
    if "split" not in rows or rows["split"].isna().all():
        rows["split"] = "train"
        notes.append(NO_SPLIT)
    table = assemble("table", rows, notes)
    if check_files:
        _refuse_missing(root, table)
    if "camid" not in table:
        table.attrs["notes"] = [*notes, NO_CAMERA]
    return table


def _read(file: Path) -> pd.DataFrame:
    suffix = file.suffix.lower()
    if suffix not in (".parquet", ".pq", ".csv", ".tsv", ".txt"):
        raise UserError(f"{file} is neither .csv, .tsv nor .parquet.")
    if suffix in (".parquet", ".pq"):
        return read_frame(file)
    try:
        return _read_csv(file)
    except (ValueError, OSError, pd.errors.ParserWarning) as error:  # pandas' own errors are ValueErrors
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file} cannot be read: {first}") from None


def _read_csv(file: Path) -> pd.DataFrame:
    with file.open(encoding="utf-8-sig") as lines:
        head = lines.readline()
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        # "NA" and "None" may be names of people: only the empty field is missing
        return pd.read_csv(
            file,
            sep=max((",", ";", "\t"), key=head.count),
            dtype=dict.fromkeys(_LABELS, str),
            index_col=False,
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
            skipinitialspace=True,
            low_memory=False,
        )


def _as_text(rows: pd.DataFrame, column: str) -> pd.Series:
    """Write numbers as text, whole floats without their .0; nulls stay null for the check to name."""
    values = plain(rows[column])
    known = values.notna() & ~values.map(lambda value: isinstance(value, str) and not value.strip()).astype(bool)
    text = pd.Series(None, index=rows.index, dtype=object)
    text[known] = labels(rows[known], column).astype(str).astype(object)
    return text


def _refuse_missing(file: Path, table: pd.DataFrame) -> None:
    missing = [path for path in table["path"] if not os.path.isfile(path)]  # noqa: PTH113
    if missing:
        shown = "".join(f"\n  {path}" for path in missing[:5])
        raise UserError(
            f"{file} names {len(missing):,} of {len(table):,} files that do not exist:{shown}\n"
            f"Relative paths count from {file.parent}."
        )
