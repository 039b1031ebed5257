"""Names of vectors: unique texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reidlab.errors import UserError, shown

__all__ = ["as_names", "same_length"]


def as_names(what: str, given: Iterable[str], *, unique: bool = True) -> list[str]:
    """Return names as a list of str.

    Args:
        what: they are called in messages.
        given: a list, an array or a column of texts.
        unique: refuse a name that comes twice.

    Raises:
        UserError: a single text, something that is no text, an empty text, or (unique) a name that comes twice.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise UserError(f"{what}={shown(given)} must be a list of texts, one a vector.")
    names: list[str] = []
    first: dict[str, int] = {}
    for row, name in enumerate(given):
        if not isinstance(name, str) or not name:
            raise UserError(f"{what} must be texts that are not empty; row {row} is {shown(name)} (`str(path)`?).")
        name = str(name)  # of NumPy's own kind of text too
        if first.setdefault(name, row) != row and unique:
            raise UserError(f"{what} must be unique; {shown(name)} stands in rows {first[name]} and {row}.")
        names.append(name)
    return names


def same_length(names: Sequence[str], vectors: Any) -> None:
    """Refuse another number of names than of vectors."""
    if len(names) != len(vectors):
        raise UserError(f"there are {len(names)} ids and {len(vectors)} vectors; each vector needs a name of its own.")
