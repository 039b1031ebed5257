"""Checks of single columns of an image table; each names the column and the rows that break its rule."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

import numpy as np
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.ids import UNWRITABLE, normal_form, writable

__all__ = ["flags", "labels", "numbers", "plain", "refuse", "refuse_unwritable", "texts"]

_SHOWN = 5  # offending rows in a message


def refuse(values: pd.Series, bad: Iterable[bool], column: str, why: str) -> None:
    """Raise a UserError that names the first rows where `bad` holds; do nothing where there are none."""
    positions = np.flatnonzero(np.asarray(bad, dtype=bool))
    if len(positions) == 0:
        return
    rows = "; ".join(f"row {values.index[i]}: {shown(values.iloc[i])}" for i in positions[:_SHOWN])
    more = f"; and {len(positions) - _SHOWN:,} more" if len(positions) > _SHOWN else ""
    raise UserError(f"Column {column!r} {why} in {len(positions):,} of {len(values):,} rows: {rows}{more}.")


def plain(values: pd.Series) -> pd.Series:
    """Undo a categorical column, so that its values are looked at and not its codes."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.astype(values.cat.categories.dtype)
    return values


def texts(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as text without nulls and empties; paths may be `pathlib` ones."""
    values = plain(table[column]).astype(object)
    if column == "path":
        plain_paths = [os.fspath(value) if isinstance(value, os.PathLike) else value for value in values]
        values = pd.Series(plain_paths, index=values.index, dtype=object)  # `map` would try to encode what it gives
    refuse(values, values.isna(), column, "is null")
    refuse(values, [not isinstance(value, str) for value in values], column, "is not text")
    refuse(values, [not value.strip() for value in values], column, "is empty")
    return values.astype(str)


def refuse_unwritable(table: pd.DataFrame) -> None:
    """Refuse text that no file can hold: null characters, halves of surrogate pairs (file names that are not UTF-8)."""
    for column in table.columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            values = plain(table[column])
            texts = [os.fspath(value) if isinstance(value, os.PathLike) else value for value in values]
            if not writable("\n".join(text for text in texts if isinstance(text, str))):  # one look for all of them
                bad = [isinstance(text, str) and not writable(text) for text in texts]
                refuse(values, bad, str(column), UNWRITABLE)


def labels(table: pd.DataFrame, column: str) -> pd.Series:
    """Return an identity or camera column as int64 or str by the rule of `reidlab.ids`, which says what can be one."""
    values = plain(table[column])
    refuse(values, values.isna(), column, "is null")

    def name_rows(bad: Iterable[bool], why: str) -> None:
        refuse(values, bad, column, why)

    found = normal_form(np.asarray(values), name_rows)
    return pd.Series(found, index=values.index, dtype=np.int64 if found.dtype.kind == "i" else str)


def numbers(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as int64 with -1 for null; a missing column is -1 throughout."""
    if column not in table:
        return pd.Series(-1, index=table.index, dtype=np.int64)
    values = plain(table[column])
    if pd.api.types.is_integer_dtype(values) and not values.isna().any():
        refuse(values, values > np.iinfo(np.int64).max, column, "is beyond the range of 64-bit integers")
        return values.astype(np.int64)
    whole = values.astype(object).map(_number).astype(np.float64)
    refuse(values, whole.isna(), column, "is not a number")
    refuse(values, ~np.isfinite(whole) | (whole != np.floor(whole)), column, "is not a whole number")
    refuse(values, whole.abs() > 2**53, column, "is too large a number")
    return whole.astype(np.int64)


def _number(value: object) -> float:
    """Return a number, or the number that a text says, as a float; -1 for null, NaN for what is none."""
    try:
        missing = value is None or value is pd.NA or value is pd.NaT or value != value
        if missing or isinstance(value, str | int | float | np.integer | np.floating):
            return -1.0 if missing else float(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError):  # other text; integers beyond every float
        return math.inf if isinstance(value, int) else math.nan
    return math.nan


def flags(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of true and false (or 1 and 0) as bool."""
    values = plain(table[column])
    kinds = (bool, np.bool_, int, np.integer, float)
    refuse(
        values,
        [not (isinstance(value, kinds) and value in (0, 1)) for value in values],
        column,
        "is neither true nor false",
    )
    return values.astype(bool)
