"""Score queries against the gallery, so that equal images tie on every machine; or take scores that are made elsewhere.

`Scorer` scores vectors. `DistanceScorer` takes the rows of `Distances`, such as re-ranked ones, in the same place: what
ranks them (camera rule, junk, ties) is one piece of code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from reidlab.registry import METRICS
from reidlab.retrieval.distance_rows import Distances
from reidlab.retrieval.distances import Metric
from reidlab.retrieval.equal import first_equal
from reidlab.retrieval.inputs import Problem

__all__ = ["COLUMNS", "ROWS", "DistanceScorer", "Scorer", "multiply_tiles"]

# The last bits of a product depend on the shape of the matrices. These are multiplied at a time, however many there are
ROWS, COLUMNS = 64, 1024

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


def product(query: Floats, gallery: Floats, out: Floats | None = None) -> Floats:
    """Return the dot products of queries [row, dim] with a gallery [gallery, dim]; nothing is promised on last bits."""
    found: Floats = np.matmul(query, gallery.T, out=out)
    return found


def multiply_tiles(blocks: Sequence[Floats], gallery: Floats, out: Floats) -> None:
    """Multiply blocks of `ROWS` queries (the last may be smaller) with a gallery, `COLUMNS` images at a time."""
    blocks = [block.copy() for block in blocks]  # NumPy multiplies an array with itself by another routine
    for start in range(0, len(gallery), COLUMNS):
        tile = gallery[start : start + COLUMNS]
        for at, block in enumerate(blocks):
            product(block, tile, out[at * ROWS : (at + 1) * ROWS, start : start + COLUMNS])


class Scorer:
    """Score blocks of queries against the gallery; gallery factors are applied row by row, in the cache.

    A gallery image that equals an earlier one takes that one's score, whatever the products were.

    Attributes:
        dtype: of scores.
        scales: a score is the product times the gallery's factor; else the product less the factor.
        factor: a value a gallery image [gallery].
        query_first: for each query the first that has the same row of products [query].
        first: for each gallery image the first that equals it [gallery].
        shown: what listings show, "similarity" or "distance".
        multiplies: scores come from products of vectors, so that any part of the gallery can be scored by itself.
    """

    multiplies: ClassVar[bool] = True

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.metric: Metric = METRICS.build(problem.metric)
        self.dtype, self.scales, self.shown = problem.gallery.dtype, self.metric.scales, self.metric.shown
        self.first = first_equal(problem.gallery)
        self._again = np.flatnonzero(self.first != np.arange(len(self.first)))
        self._first = self.first[self._again]
        squares = np.einsum("ij,ij->i", problem.gallery, problem.gallery)
        squares[self._again] = squares[self._first]
        self.factor = self.metric.factor(squares)
        self.query_first = first_equal(problem.query)
        self.query_squares = np.einsum("ij,ij->i", problem.query, problem.query)[self.query_first].astype(np.float64)

    def multiply(self, rows: Ints, out: Floats | None = None) -> Floats:
        """Return the dot products of queries, given by their rows [row], with the gallery: [row, gallery]."""
        return self._tied(product(self._queries(rows), self.problem.gallery, out))

    def tiled(self, rows: Ints, out: Floats) -> Floats:
        """Do the work of `multiply` in products of one shape, so that nothing depends on what is asked for together.

        Where `rows` are parts of one list of rows, each beginning at a multiple of `ROWS`, and the BLAS has one thread,
        the products are the same to the last bit, whatever the parts. The gallery is read once for all of `rows`.
        """
        multiply_tiles(
            [self._queries(rows[at : at + ROWS]) for at in range(0, len(rows), ROWS)], self.problem.gallery, out
        )
        return self._tied(out)

    def _queries(self, rows: Ints) -> Floats:
        query = self.problem.query
        # nothing is copied where queries differ, as they do
        dense = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows) and bool((rows[1:] > rows[:-1]).all())
        return query[rows[0] : rows[-1] + 1] if dense else query[rows]

    def _tied(self, found: Floats) -> Floats:
        """Give equal gallery images the products of the first of them."""
        if len(self._again):
            for line in found:  # one at a time: a copy of a whole block would take as much memory again
                line[self._again] = line[self._first]
        return found

    def finish(self, dots: Floats, out: Floats) -> Floats:
        """Turn dot products [row, gallery] into scores."""
        return (np.multiply if self.scales else np.subtract)(dots, self.factor, out=out)

    def finish_pairs(self, dots: Floats, column: Ints) -> Floats:
        """Turn dot products [pair] with these gallery columns [pair] into scores."""
        return np.asarray((np.multiply if self.scales else np.subtract)(dots, self.factor[column]), self.dtype)

    def distance(self, query: Ints, score: Floats) -> Floats:
        """Turn scores into distances (float64)."""
        return self.metric.distance(score.astype(np.float64), self.query_squares[query])

    def table(self, rows: Ints) -> Floats:
        """Return the distances of queries, given by their rows [row], to the gallery: float64 [row, gallery].

        They are in the order of the scores, to the last bit of these.
        """
        dots = self.multiply(rows)
        return self.distance(rows[:, None], self.finish(dots, dots))


class DistanceScorer(Scorer):
    """Score by distances that somebody else makes: a score is a distance times -1.

    Args:
        problem: its gallery may be a part of that of the distances, which `gallery_rows` tells.
        distances: of all queries to all gallery images.
    """

    multiplies: ClassVar[bool] = False

    def __init__(self, problem: Problem, distances: Distances) -> None:
        self.problem, self.distances = problem, distances
        self.dtype, self.scales, self.shown = distances.dtype, True, "distance"
        self.factor = np.ones(len(problem.gallery), self.dtype)
        self.query_first = np.arange(len(problem.query))
        self._part = None if len(problem.gallery) == distances.shape[1] else problem.gallery_rows

    def multiply(self, rows: Ints, out: Floats | None = None) -> Floats:
        """Return the distances of queries, given by their rows [row], to the gallery times -1: [row, gallery]."""
        found = self.distances.rows(rows)
        return np.negative(found if self._part is None else found[:, self._part], out=out)

    def tiled(self, rows: Ints, out: Floats) -> Floats:
        """Return the same as `multiply`."""
        return self.multiply(rows, out)

    def distance(self, query: Ints, score: Floats) -> Floats:
        """Turn scores into distances (float64)."""
        return -score.astype(np.float64)
