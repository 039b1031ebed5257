"""Find the nearest gallery images that are valid for each query, in blocks of queries."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int64

from reidlab.retrieval.distance_rows import BLOCK_MIB
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.scoring import Scorer

__all__ = ["Nearest", "nearest_valid", "top_columns"]

BYTES = 24  # that a pair takes in a block: score, its copies, what is ignored


class Nearest(NamedTuple):
    """The nearest valid images of each query, nearest first; -1 and NaN where there are no more."""

    column: Int64[np.ndarray, "query k"]
    distance: Float64[np.ndarray, "query k"]


def nearest_valid(
    problem: Problem, k: int = 1, *, other_cameras: bool = False, block_mib: float = BLOCK_MIB
) -> Nearest:
    """Return the `k` nearest gallery images that are valid for each query; ties stand in gallery order.

    Args:
        problem: what `inputs.problem_of` made.
        k: images per query.
        other_cameras: look in other cameras than the query's alone, where cameras are known.
        block_mib: memory for scores.
    """
    scorer, n_query = Scorer(problem), len(problem.query)
    k = min(k, len(problem.gallery))
    column, distance = np.full((n_query, k), -1), np.full((n_query, k), np.nan)
    step = max(1, int(block_mib * 2**20 / (len(problem.gallery) * BYTES)))
    for begin in range(0, n_query, step):
        rows = np.arange(begin, min(begin + step, n_query))
        dots = scorer.multiply(scorer.query_first[rows])
        scores = scorer.finish(dots, dots)
        scores[problem.ignored_block(rows)] = -np.inf
        if other_cameras and problem.query_cams is not None and problem.gallery_cams is not None:
            scores[problem.query_cams[rows, None] == problem.gallery_cams] = -np.inf
        for row, line in zip(rows.tolist(), scores):
            found = top_columns(line, k)
            found = found[np.isfinite(line[found])]
            column[row, : len(found)] = found
            distance[row, : len(found)] = scorer.distance(np.full(len(found), row), line[found])
    return Nearest(column, distance)


def top_columns(scores: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    """Return the columns of the `k` largest scores, best first, ties in column order."""
    k = min(k, len(scores))
    limit = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= limit)
    return candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
