"""Products of vectors in half the bits, and what that changes in the scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32

from reidlab.errors import UserError, shown
from reidlab.registry import METRICS
from reidlab.retrieval.checks import check_choice
from reidlab.retrieval.inputs import Problem

__all__ = ["PRECISIONS", "check_precisions", "in_precision", "round_to", "rounded"]

PRECISIONS = ("full", "float32", "bfloat16", "float16")
ROWS = 2048  # rounded at a time

Floats = npt.NDArray[Any]


def in_precision(problem: Problem, precision: str) -> Problem:
    """Return the problem with vectors rounded to a precision; "full" leaves them as they are.

    Vectors of bfloat16 and float16 stand in float32 afterwards (a copy of both sides): their products, exact there, are
    added up in float32, as tensor cores do.

    Raises:
        UserError: a vector that the precision cannot hold.
    """
    if check_choice("precision", precision, PRECISIONS) == "full":
        return problem
    needs_direction = METRICS.build(problem.metric).needs_direction
    query, gallery = (
        rounded(side, getattr(problem, side), precision, needs_direction=needs_direction)
        for side in ("query", "gallery")
    )
    return replace(problem, query=query, gallery=gallery)


def rounded(
    name: str, vectors: Float[np.ndarray, "image dim"], precision: str, *, needs_direction: bool
) -> Float32[np.ndarray, "image dim"]:
    """Return vectors rounded to the nearest numbers of a precision, as float32; float32 itself is not copied.

    Args:
        name: names the vectors in messages.
        vectors: finite.
        precision: "float32", "bfloat16" or "float16".
        needs_direction: refuse rows that become zeros.

    Raises:
        UserError: a number beyond the range of the precision, or a row that becomes zeros.
    """
    if precision == "float32" and vectors.dtype == np.float32:
        return vectors
    found = np.empty(vectors.shape, np.float32)
    for begin in range(0, len(vectors), ROWS):
        part = found[begin : begin + ROWS]
        with np.errstate(over="ignore", under="ignore"):  # both are looked for below
            part[:] = round_to(vectors[begin : begin + ROWS], precision)
            squares = np.einsum("ij,ij->i", part, part)
        lost = ~(squares < np.finfo(np.float32).max / 4)
        if needs_direction:
            lost |= squares < np.finfo(np.float32).tiny
        if lost.any():
            row = begin + int(np.flatnonzero(lost)[0])
            what = "too small" if np.abs(vectors[row]).max() < 1 else "too large"
            raise UserError(
                f"{name} row {row} has numbers that are {what} for {precision}. Scale the vectors, to unit length for "
                "example, or choose another precision."
            )
    return found


def round_to(vectors: Float[np.ndarray, "image dim"], precision: str) -> Float32[np.ndarray, "image dim"]:
    """Return the nearest numbers of "float32", "bfloat16" or "float16", ties to even, infinity beyond its range."""
    if precision == "float16":
        return vectors.astype(np.float16).astype(np.float32)
    found = vectors.astype(np.float32)
    if precision == "bfloat16":  # the upper half of a float32
        bits = found.view(np.uint32)
        bits += np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        bits &= np.uint32(0xFFFF0000)
    return found


def check_precisions(given: Any) -> tuple[str, ...]:
    """Return names of precisions; refuse none at all and others.

    Raises:
        UserError: as said.
    """
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else ()
    if not names:
        raise UserError(f"precisions={shown(given)} must be one or more of {', '.join(PRECISIONS)}.")
    for name in names:
        check_choice("precisions", name, PRECISIONS)
    return tuple(dict.fromkeys(names))
