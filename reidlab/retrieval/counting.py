"""Count nearer images by plain comparison, compiled: for large galleries, where it beats sorting several times.

numba comes with umap-learn. It is imported and compiled at the first large evaluation (about a second, kept on disk
for later processes); without it, or for small problems, `ranking` counts with NumPy and gives the same numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LARGE", "Counter", "compiled_counter"]

LARGE = 20_000_000  # scores; Market-1501 has 53.6 million

Counter = Callable[[Any, Any, Any, Any, Any], None]


def _count(
    scores: npt.NDArray[Any],
    row: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
    score: npt.NDArray[Any],
    nearer: npt.NDArray[np.int64],
) -> None:
    """Write to nearer [match] how many of scores[row] are above `score`, or equal and left of `column`."""
    for match in range(len(row)):
        line, own = scores[row[match]], score[match]
        above = np.int32(0)
        for value in line:
            above += np.int32(value > own)
        ties = np.int32(0)
        for value in line[: column[match]]:
            ties += np.int32(value == own)
        nearer[match] = above + ties


@functools.cache
def compiled_counter() -> Counter | None:
    """Compile `_count`, or give None where numba is not there or cannot compile."""
    try:
        import numba

        counter: Counter = numba.njit(nogil=True, cache=True)(_count)
        for kind in (np.float32, np.float64):
            some = np.zeros(1, np.int64)
            counter(np.zeros((1, 2), kind), some, some, np.zeros(1, kind), np.zeros(1, np.int64))
    except Exception:  # of many kinds: no numba, no cache folder, a processor that LLVM does not know
        return None
    return counter
