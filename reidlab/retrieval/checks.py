"""Check words and numbers that options are given, one function a kind."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError, nearest, shown

__all__ = ["as_array", "as_numbers", "check_choice", "check_real", "check_seed", "check_whole"]


def check_choice(what: str, given: Any, choices: Collection[str]) -> str:
    """Return a word of `choices`; refuse others, naming the nearest."""
    if not isinstance(given, str) or given not in choices:
        raise UserError(f"{what}={shown(given)} is not one of {', '.join(choices)}.{nearest(shown(given), choices)}")
    return given


def check_whole(what: str, given: Any, lowest: int, highest: int) -> int:
    """Return a whole number between `lowest` and `highest`, both allowed; a float or a truth value is refused."""
    try:
        value = operator.index(given)
    except TypeError:
        value = None
    if value is None or isinstance(given, bool | np.bool_) or not lowest <= value <= highest:
        raise UserError(f"{what}={shown(given)} must be a whole number from {lowest:,} to {highest:,}.")
    return value


def check_real(what: str, given: Any, lowest: float, highest: float, *, open_ends: bool = False) -> float:
    """Return a number between `lowest` and `highest`; with `open_ends` neither of them is allowed."""
    value = math.nan
    if isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool):
        with contextlib.suppress(OverflowError):  # an integer beyond every float
            value = float(given)
    if not (lowest < value < highest if open_ends else lowest <= value <= highest):
        ends = f"above {lowest:g} and below {highest:g}" if open_ends else f"from {lowest:g} to {highest:g}"
        raise UserError(f"{what}={shown(given)} must be a number {ends}.")
    return value


def check_seed(given: Any) -> int:
    """Return a seed: a whole number of at most 63 bits."""
    return check_whole("seed", given, 0, 2**63 - 1)


def as_array(given: Any) -> npt.NDArray[Any]:
    """Return whatever came as an array; an empty one of objects where it is none (a list of lists of other lengths)."""
    try:
        return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    except (TypeError, ValueError, RuntimeError, ArithmeticError):
        return np.zeros(0, object)


def as_numbers(given: Any, kinds: str = "fiu") -> npt.NDArray[np.float64]:
    """Return numbers of any shape as floats; a single NaN [1] where they are none of these kinds of NumPy's types."""
    values = as_array(given)
    with np.errstate(over="ignore"):  # longer floats than ours become infinite
        return values.astype(np.float64) if values.dtype.kind in kinds else np.full(1, np.nan)
