"""Identities and cameras: the one place that says what can be one, and that turns them into codes.

An identity is a whole number that int64 holds, or text. Numbers have to arrive exactly: floats only as far as their
neighbours are told apart. Text loses the blanks around it and is compared in one Unicode form (NFC), so that "7 " is
"7" and a name is itself whether a file system composed its accents or not. A list is all numbers or all text; where a
list of numbers meets a list of text, both are compared as text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown

__all__ = ["UNWRITABLE", "as_ids", "codes", "normal_form", "shared_codes", "writable"]

Ids = npt.NDArray[Any]
Refuse = Callable[[Any, str], None]

LOWEST, HIGHEST = -(2**63), 2**63 - 1
EXACT_DIGITS = 53  # binary digits up to which float64 tells neighbouring whole numbers apart

FLAG = "is true or false, not a number or a name"
NEITHER = "is neither a number nor text"
MISSING = "is missing"
MASKED = "is masked"
FRACTION = "is not a whole number"
BEYOND = "is beyond the range of 64-bit integers (write identities of that size as text)"
INEXACT = "is too large a float to be told from its neighbours (use integers or text)"
EMPTY = "is empty"
UNWRITABLE = "holds a null character or half a surrogate pair, which no file can hold"


def as_ids(name: str, given: Any, length: int | None = None, of: str = "") -> Ids:
    """Return identities or cameras as int64 or as an object array of str, [image].

    Args:
        name: of the argument, for messages.
        given: a list, a NumPy array, a pandas column or a torch tensor.
        length: how many there must be; None takes any number.
        of: what has that many rows, for messages.

    Raises:
        UserError: another shape, or a value that cannot be an identity; names the first row that has one.
    """
    values = _array(name, given)
    if values.ndim != 1 or length not in (None, len(values)):
        wanted = "it must be a list [image]" if length is None else f"{of} has {length} rows"
        raise UserError(
            f"{name} has shape {list(values.shape)}, but {wanted}; the pids of a table are its column 'pid', "
            "the camids its column 'camid'."
        )

    def refuse(bad: Any, why: str) -> None:
        rows = np.flatnonzero(bad)
        if len(rows):
            more = f" ({len(rows):,} rows in all)" if len(rows) > 1 else ""
            raise UserError(f"{name} {why} in row {rows[0]}: {shown(values[rows[0]])}{more}.")

    if isinstance(given, np.ma.MaskedArray):
        refuse(np.ma.getmaskarray(given), MASKED)
    return normal_form(values, refuse)


def codes(*lists: Any, name: str = "identities") -> list[npt.NDArray[np.int64]]:
    """Return lists of identities as codes 0, 1, ... that are equal where identities are, across all the lists.

    Raises:
        UserError: as `as_ids`.
    """
    return shared_codes(*(as_ids(name, given) for given in lists))


def shared_codes(*ids: Ids) -> list[npt.NDArray[np.int64]]:
    """Return `codes` of lists that `as_ids` gave: nothing is checked again."""
    if len({part.dtype for part in ids if len(part)}) > 1:
        ids = tuple(np.array([str(value) for value in part], dtype=object) for part in ids)
    found = pd.factorize(np.concatenate([part for part in ids if len(part)] or ids[:1]))[0].astype(np.int64)
    return np.split(found, np.cumsum([len(part) for part in ids])[:-1])


def normal_form(values: Ids, refuse: Refuse) -> Ids:
    """Return values [image] as int64 or as an object array of str.

    Args:
        values: a NumPy array with one axis.
        refuse: called with a mask [image] and what is wrong where it is true; has to raise where any is.
    """
    kind = values.dtype.kind
    if kind in "iu":
        refuse(values > HIGHEST if kind == "u" else np.zeros(len(values), bool), BEYOND)
        return values.astype(np.int64)
    if kind == "f":
        return _whole(values, refuse)
    if kind in "OUT":
        return _objects(values.astype(object), refuse)
    refuse(np.ones(len(values), bool), FLAG if kind == "b" else NEITHER)
    return np.zeros(0, np.int64)


def writable(text: str) -> bool:
    """Return whether a file can hold the text: no null character, no half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _array(name: str, given: Any) -> Ids:
    """Make an array of whatever came, without turning numbers beside text into text."""
    if hasattr(given, "detach"):  # a torch tensor; torch is not imported to find out
        given = _tried(name, lambda: given.detach().cpu())
    if isinstance(given, list | tuple | range):
        values = np.empty(len(given), dtype=object)
        for at, value in enumerate(given):
            lone = getattr(value, "ndim", None) == 0 and not isinstance(value, np.generic) and hasattr(value, "item")
            values[at] = value.item() if lone else value
        return values
    if isinstance(given, np.ma.MaskedArray):
        return np.asarray(given.data)
    return _tried(name, lambda: np.asarray(given))


def _tried(name: str, convert: Callable[[], Any]) -> Any:
    try:
        return convert()
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{name} cannot be read as a list of whole numbers or of text ({first}).") from None


def _whole(values: Ids, refuse: Refuse) -> Ids:
    refuse(np.isnan(values), MISSING)
    refuse(~np.isfinite(values) | (values != np.floor(values)), FRACTION)
    digits = min(np.finfo(values.dtype).nmant + 1, EXACT_DIGITS)
    refuse(np.abs(values) > 2.0**digits, INEXACT) if digits < np.finfo(values.dtype).maxexp else None
    return values.astype(np.int64)


def _objects(values: Ids, refuse: Refuse) -> Ids:
    if set(map(type, values)) <= {str}:
        return _texts(values, refuse)
    kinds = np.array([_kind(value) for value in values], dtype=object)
    refuse(kinds == MISSING, MISSING)
    refuse(kinds == FLAG, FLAG)
    refuse(kinds == NEITHER, NEITHER)
    if len(kinds):
        refuse(kinds != kinds[0], f"is not {kinds[0]}, as the first row is,")
    return _numbers(values, refuse) if len(kinds) and kinds[0] == "a number" else _texts(values, refuse)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return FLAG
    if isinstance(value, float | np.floating):
        return MISSING if value != value else "a number"
    if isinstance(value, int | np.integer):
        return "a number"
    return MISSING if value is None or value is pd.NA or value is pd.NaT else NEITHER


def _numbers(values: Ids, refuse: Refuse) -> Ids:
    """Return Python's and NumPy's numbers as int64; whole floats are the integers that they equal."""
    floats = [isinstance(value, float | np.floating) for value in values]
    refuse([real and not float(value).is_integer() for real, value in zip(floats, values)], FRACTION)
    refuse([real and abs(float(value)) > 2**EXACT_DIGITS for real, value in zip(floats, values)], INEXACT)
    whole = [int(value) for value in values]
    refuse([not LOWEST <= value <= HIGHEST for value in whole], BEYOND)
    return np.array(whole, dtype=np.int64)


def _texts(values: Ids, refuse: Refuse) -> Ids:
    texts = np.array([str(value).strip() for value in values], dtype=object)
    refuse(texts == "", EMPTY)
    together = "\n".join(texts)
    if not writable(together):
        refuse([not writable(text) for text in texts], UNWRITABLE)
    if not together.isascii():
        texts = np.array([unicodedata.normalize("NFC", text) for text in texts], dtype=object)
    return texts
