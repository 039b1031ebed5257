"""Count nearer images by sorting values: for problems that are small, or where nothing can be compiled.

A row's *values* are sorted in place (SIMD in NumPy 2, a tenth of the time of an argsort), and each match is looked up
by bisection.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["count_nearer", "equal_before"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


def equal_before(row: Floats, column: int, score: Any) -> int:
    """Count images of the same score that stand earlier in the gallery."""
    return int(np.count_nonzero(row[:column] == score))


def count_nearer(scores: Floats, row: Ints, score: Floats) -> tuple[Ints, Floats]:
    """Count for each match the values of its row above its score; also give the largest value not above it.

    `scores` [row, gallery] is sorted or left alone, `row` is ascending. Where the matches stand far forward only
    the part of a row that reaches the hardest of them is sorted; a sample of columns tells.
    """
    ends = np.searchsorted(row, np.arange(len(scores) + 1)).tolist()
    lowest = np.full(len(scores), np.inf, scores.dtype)
    np.minimum.at(lowest, row, score)
    if np.count_nonzero(scores[:, ::97] >= lowest[:, None]) * 97 * 2 < scores.size:
        return _count_in_front(scores, lowest, ends, score)
    scores.sort(axis=1)
    below = np.empty(len(row), np.int64)
    for line, begin, end in zip(scores, ends, ends[1:]):
        below[begin:end] = line.searchsorted(score[begin:end], "right")
    return scores.shape[1] - below, scores[row, below - 1]  # with nothing below, -1 is the largest: no tie either


def _count_in_front(scores: Floats, lowest: Floats, ends: list[int], score: Floats) -> tuple[Ints, Floats]:
    """Do the work of `count_nearer` on the values from the hardest match upwards."""
    nearer, edge = np.zeros(len(score), np.int64), np.full(len(score), -np.inf, scores.dtype)
    for line, begin, end, low in zip(scores, ends, ends[1:], lowest):
        front = line.compress(line >= low)  # a fifth of the time of line[mask]
        if len(front):
            front.sort()
            below = front.searchsorted(score[begin:end], "right")
            nearer[begin:end] = len(front) - below
            edge[begin:end] = front[below - 1]
    return nearer, edge
