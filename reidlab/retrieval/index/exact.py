"""Exact search: products block by block tell which rows can be among the nearest, float64 says which are.

A product in float32 rounds differently from one place of a matrix to the next. So it only rules out: a row is looked
at again, by itself and in float64, unless its product is lower than rounding can explain. What comes out depends on
the two vectors alone: equal vectors have equal similarities, on every machine and for every size of block.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int64

from reidlab.retrieval.distances import Metric
from reidlab.retrieval.index.rows import Rows, squared_lengths

__all__ = ["Found", "nearest", "rescored", "similarities"]

QUERIES = 1024  # multiplied with a block at a time
SCORES_BYTES = 32 * 2**20  # of products that are looked through at a time
AGAIN = 2048  # rows of one query that are looked at again at a time
GROUPS = 8  # groups of products per row wanted, whose maxima tell how large the k-th product is at least
LOWEST = -3e38  # finite: what is minus infinity is removed

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Found = tuple[Float32[np.ndarray, "query k"], Int64[np.ndarray, "query k"]]


def similarities(query: Doubles, vectors: Float32[np.ndarray, "row dim"], metric: Metric) -> tuple[Doubles, Doubles]:
    """Compare one query [dim] with vectors: similarities [row] as float32 holds them, and scores [row].

    A similarity is 1 - distance where the metric shows similarities (cosine), else minus the distance.
    """
    wide = vectors.astype(np.float64)
    squares = np.square(wide).sum(axis=1)
    factor = metric.factor(squares)
    products = np.multiply(wide, query, out=wide).sum(axis=1)
    score = products * factor if metric.scales else products - factor
    distance = metric.distance(score, np.full(len(score), np.square(query).sum()))
    similarity = 1 - distance if metric.shown == "similarity" else -distance
    return similarity.astype(np.float32).astype(np.float64), score


class _Best:
    """The k nearest rows of a query so far, nearest first; rows arrive in ascending order, so earlier ones win ties."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.rows = np.empty(0, np.int64)
        self.similarity, self.score = np.empty(0), np.empty(0)

    def merge(self, rows: Ints, similarity: Doubles, score: Doubles) -> None:
        rows = np.concatenate([self.rows, rows])
        similarity, score = np.concatenate([self.similarity, similarity]), np.concatenate([self.score, score])
        order = np.lexsort((rows, -similarity))[: self.k]
        self.rows, self.similarity, self.score = rows[order], similarity[order], score[order]

    @property
    def floor(self) -> float:
        """The score that a row needs to enter the list; minus infinity while there is room."""
        return float(self.score.min()) if len(self.rows) == self.k else -np.inf


class _Search:
    """Queries, their lists, and the products that rule rows out."""

    def __init__(self, rows: Rows, queries: Float32[np.ndarray, "query dim"], k: int) -> None:
        self.rows, self.k, self.metric = rows, k, rows.metric
        self.wide = queries.astype(np.float64)
        self.lengths = np.sqrt(squared_lengths(queries))
        # of length 1 inside a product, so that nothing overflows; neither order nor similarity changes
        self.queries = (self.wide / self.lengths[:, None]).astype(np.float32) if self.metric.scales else queries
        self.lists = [_Best(k) for _ in queries]

    def products(self, dead: npt.NDArray[np.bool_] | None) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Multiply the queries with all rows: a first row, and products [query, row] from there, until the next."""
        most = min(len(self.rows), max(SCORES_BYTES // (4 * len(self.queries)), self.rows.step))
        scores = np.empty((len(self.queries), most), np.float32)
        begin = end = 0
        for start, block in self.rows.blocks(most):
            if start + len(block) - begin > most:
                yield begin, scores[:, : end - begin]
                begin = start
            end = start + len(block)
            part = scores[:, start - begin : end - begin]
            np.matmul(self.queries, block.T, out=part)
            if not self.metric.scales:
                part -= self.metric.factor(self.rows.squares[start:end]).astype(np.float32)
            if dead is not None:
                part[:, dead[start:end]] = -np.inf
        yield begin, scores[:, : end - begin]

    def look(self, at: slice, scores: npt.NDArray[np.float32], numbers: Ints) -> None:
        """Take rows into the lists of the queries `at`, unless their products [query, row] rule them out.

        Args:
            at: queries.
            scores: products; minus infinity for a row that is removed.
            numbers: ascending rows [row], behind those that were looked at before.
        """
        lists = self.lists[at]
        floors = self._floors(at, scores) - self._rounding(at, numbers)
        for best, query, line, floor in zip(lists, self.wide[at], scores, floors):
            columns = np.flatnonzero(line >= max(floor, LOWEST))
            for begin in range(0, len(columns), AGAIN):
                chosen = numbers[columns[begin : begin + AGAIN]]
                best.merge(chosen, *similarities(query, self.rows.take(chosen), self.metric))

    def _floors(self, at: slice, scores: npt.NDArray[np.float32]) -> Doubles:
        """Return what a row's product must reach, but for rounding, to be among the k nearest [query]."""
        floors = np.array([best.floor for best in self.lists[at]])
        if self.metric.scales:
            floors /= self.lengths[at]  # scores are of whole queries, products of queries of length 1
        n = scores.shape[1]
        room = np.isneginf(floors)
        if not room.any() or n <= self.k:
            return floors
        if n < 2 * GROUPS * self.k:
            floors[room] = np.partition(scores[room], n - self.k, axis=1)[:, n - self.k]
            return floors
        # the largest of each group: k of them are as large as the k-th of them, and partition sees few numbers
        groups = GROUPS * self.k
        highest = np.maximum.reduceat(scores[room], np.arange(groups) * (n // groups), axis=1)
        floors[room] = np.partition(highest, groups - self.k, axis=1)[:, groups - self.k]
        return floors

    def _rounding(self, at: slice, numbers: Ints) -> Doubles:
        """Return by how much a product can be lower than that of the k-th row and still belong to a nearer one [query].

        n * 2**-24 of the product of lengths bounds the error of a sum of n products in float32, whatever its order;
        twice, since both sides have it. The rest is for lengths that are 1 but for rounding, and for similarities in
        float32.
        """
        unit = 2 * (self.rows.dim + 16) * 2.0**-24
        if self.metric.scales:
            return np.full(len(self.lengths[at]), unit)
        longest = float(np.sqrt(self.rows.squares[numbers].max()))
        return np.asarray(unit * 2 * (self.lengths[at] + longest) ** 2)

    @property
    def found(self) -> Found:
        """Similarities and rows [query, k]; minus infinity and -1 where there are fewer."""
        similarity = np.full((len(self.lists), self.k), -np.inf, np.float32)
        row = np.full((len(self.lists), self.k), -1, np.int64)
        for at, best in enumerate(self.lists):
            similarity[at, : len(best.rows)] = best.similarity
            row[at, : len(best.rows)] = best.rows
        return similarity, row


def nearest(
    rows: Rows, queries: Float32[np.ndarray, "query dim"], k: int, dead: npt.NDArray[np.bool_] | None = None
) -> Found:
    """Find the `k` nearest rows of each query: similarities, largest first, ties in the order of rows, and rows.

    Args:
        rows: what is searched; one at least.
        queries: checked vectors, of any length.
        k: 1 or more.
        dead: rows [row] that are not looked at; None for none.

    Returns:
        Similarities float32 [query, k] and rows int64 [query, k]; minus infinity and -1 where there are fewer.
    """
    parts = []
    for begin in range(0, len(queries), QUERIES):
        search = _Search(rows, queries[begin : begin + QUERIES], k)
        for start, scores in search.products(dead):
            search.look(slice(None), scores, np.arange(start, start + scores.shape[1]))
        parts.append(search.found)
    similarity, row = zip(*parts)
    return np.concatenate(similarity), np.concatenate(row)


def rescored(rows: Rows, queries: Float32[np.ndarray, "query dim"], candidates: Ints, k: int) -> Found:
    """Find the `k` nearest among candidates [query, candidate] (-1 for none), by their exact similarities.

    Returns:
        As `nearest`.
    """
    search = _Search(rows, queries, k)
    for at, each in enumerate(candidates):
        chosen = np.sort(each[each >= 0])
        scores = rows.take(chosen) @ search.queries[at]
        if not rows.metric.scales:
            scores -= rows.metric.factor(rows.squares[chosen]).astype(np.float32)
        if len(chosen):
            search.look(slice(at, at + 1), scores[None], chosen)
    return search.found
