"""Score queries against the gallery, so that equal images tie on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.registry import METRICS
from reidlab.retrieval.distances import Metric
from reidlab.retrieval.equal import first_equal
from reidlab.retrieval.inputs import Problem

__all__ = ["Scorer"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


def product(query: Floats, gallery: Floats, out: Floats | None = None) -> Floats:
    """Return the dot products of queries [row, dim] with a gallery [gallery, dim]; nothing is promised on last bits."""
    found: Floats = np.matmul(query, gallery.T, out=out)
    return found


class Scorer:
    """Score blocks of queries against the gallery; gallery factors are applied row by row, in the cache.

    A gallery image that equals an earlier one takes that one's score, whatever the products were.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.metric: Metric = METRICS.build(problem.metric)
        first = first_equal(problem.gallery)
        self._again = np.flatnonzero(first != np.arange(len(first)))
        self._first = first[self._again]
        squares = np.einsum("ij,ij->i", problem.gallery, problem.gallery)
        squares[self._again] = squares[self._first]
        self.factor = self.metric.factor(squares)
        self.query_first = first_equal(problem.query)
        self.query_squares = np.einsum("ij,ij->i", problem.query, problem.query)[self.query_first].astype(np.float64)

    def multiply(self, query: Floats, out: Floats | None = None) -> Floats:
        """Return the dot products of queries [row, dim] with the gallery, [row, gallery]."""
        found = product(query, self.problem.gallery, out)
        if len(self._again):
            for line in found:  # one at a time: a copy of a whole block would take as much memory again
                line[self._again] = line[self._first]
        return found

    def finish(self, dots: Floats, out: Floats) -> Floats:
        """Turn dot products [row, gallery] into scores."""
        return (np.multiply if self.metric.scales else np.subtract)(dots, self.factor, out=out)

    def distance(self, query: Ints, score: Floats) -> Floats:
        """Turn scores into distances (float64)."""
        return self.metric.distance(score.astype(np.float64), self.query_squares[query])
