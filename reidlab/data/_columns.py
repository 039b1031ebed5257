"""Checks of single columns of an image table; each names the column and the rows that break its rule."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import pandas as pd

from reidlab.errors import UserError

__all__ = ["flags", "labels", "numbers", "plain", "refuse", "texts"]

_SHOWN = 5  # offending rows in a message


def refuse(values: pd.Series, bad: Iterable[bool], column: str, why: str) -> None:
    """Raise a UserError that names the first rows where `bad` holds; do nothing where there are none."""
    positions = np.flatnonzero(np.asarray(bad, dtype=bool))
    if len(positions) == 0:
        return
    rows = "; ".join(f"row {values.index[i]}: {values.iloc[i]!r}" for i in positions[:_SHOWN])
    more = f"; and {len(positions) - _SHOWN:,} more" if len(positions) > _SHOWN else ""
    raise UserError(f"Column {column!r} {why} in {len(positions):,} of {len(values):,} rows: {rows}{more}.")


def plain(values: pd.Series) -> pd.Series:
    """Undo a categorical column, so that its values are looked at and not its codes."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.astype(values.cat.categories.dtype)
    return values


def texts(table: pd.DataFrame, column: str) -> pd.Series:
    """Give a column as text without nulls and empties; paths may be `pathlib` ones."""
    values = plain(table[column]).astype(object)
    if column == "path":
        values = values.map(lambda value: os.fspath(value) if isinstance(value, os.PathLike) else value)
    refuse(values, values.isna(), column, "is null")
    refuse(values, [not isinstance(value, str) for value in values], column, "is not text")
    refuse(values, [not value.strip() for value in values], column, "is empty")
    return values.astype(str)


def labels(table: pd.DataFrame, column: str) -> pd.Series:
    """Give an identity or camera column as int64 or str; whole floats become int64, a mixture is refused."""
    values = plain(table[column])
    refuse(values, values.isna(), column, "is null")
    if pd.api.types.is_bool_dtype(values) and len(values):
        refuse(values, np.ones(len(values), dtype=bool), column, "is true or false, not a number or a name")
    if not pd.api.types.is_numeric_dtype(values):
        kinds = np.array([_kind(value) for value in values], dtype=object)
        refuse(values, kinds == "other", column, "is neither a number nor text")
        if len(set(kinds)) > 1:
            first = kinds[0]
            refuse(values, kinds != first, column, f"is not {first}, as the first row is,")
        if len(kinds) == 0 or kinds[0] == "text":
            values = values.astype(str)
            refuse(values, values.str.strip() == "", column, "is empty")
            return values
    whole = values.to_numpy(dtype=np.float64)
    refuse(values, ~np.isfinite(whole) | (whole != np.floor(whole)), column, "is not a whole number")
    return values.astype(np.int64)


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "text"
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return "a number" if number else "other"


def numbers(table: pd.DataFrame, column: str) -> pd.Series:
    """Give a column as int64 with -1 for null; a missing column is -1 throughout."""
    if column not in table:
        return pd.Series(-1, index=table.index, dtype=np.int64)
    values = plain(table[column])
    whole = pd.to_numeric(values, errors="coerce").astype(np.float64)
    refuse(values, whole.isna() & values.notna(), column, "is not a number")
    whole = whole.fillna(-1)
    refuse(values, ~np.isfinite(whole) | (whole != np.floor(whole)), column, "is not a whole number")
    exact = pd.api.types.is_integer_dtype(values) and not values.isna().any()
    return values.astype(np.int64) if exact else whole.astype(np.int64)


def flags(table: pd.DataFrame, column: str) -> pd.Series:
    """Give a column of true and false (or 1 and 0) as bool."""
    values = plain(table[column])
    kinds = (bool, np.bool_, int, np.integer, float)
    refuse(
        values,
        [not (isinstance(value, kinds) and value in (0, 1)) for value in values],
        column,
        "is neither true nor false",
    )
    return values.astype(bool)
