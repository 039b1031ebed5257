"""Exact search: products block by block tell which rows can be among the nearest, float64 says which are.

A product in float32 rounds differently from one place of a matrix to the next. So it only rules out: a row is looked
at again, by itself and in float64, unless its product is lower than rounding can explain. What comes out depends on
the two vectors alone: equal vectors have equal similarities, on every machine and for every size of block.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int64

from reidlab.retrieval.distances import Metric
from reidlab.retrieval.index.rows import Rows, squared_lengths

__all__ = ["Found", "nearest", "rescored", "similarities"]

QUERIES = 1024  # multiplied with a block at a time
AGAIN = 2048  # rows of one query that are looked at again at a time

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


def nearest(
    rows: Rows, queries: Float32[np.ndarray, "query dim"], k: int, dead: npt.NDArray[np.bool_] | None = None
) -> Found:
    """Find the `k` nearest rows of each query: similarities, largest first, ties in the order of rows, and rows.

    Args:
        rows: what is searched.
        queries: checked vectors, of any length.
        k: 1 or more.
        dead: rows [row] that are not looked at; None for none.

    Returns:
        Similarities float32 [query, k] and rows int64 [query, k]; minus infinity and -1 where there are fewer.
    """
    found = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    for begin in range(0, len(queries), QUERIES):
        part = queries[begin : begin + QUERIES]
        for at, best in enumerate(_nearest(rows, part, k, dead), start=begin):
            found[0][at, : len(best.rows)] = best.similarity
            found[1][at, : len(best.rows)] = best.rows
    return found


def _nearest(rows: Rows, queries: npt.NDArray[np.float32], k: int, dead: npt.NDArray[np.bool_] | None) -> list[_Best]:
    metric = rows.metric
    wide = queries.astype(np.float64)
    lengths = np.sqrt(squared_lengths(queries))
    if metric.scales:  # of length 1 inside a product, so that nothing overflows; order and similarity stay
        queries = (wide / lengths[:, None]).astype(np.float32)
    lists = [_Best(k) for _ in queries]
    for start, block in rows.blocks():
        scores = queries @ block.T
        slack = _rounding(rows, start, len(block), lengths)
        if not metric.scales:
            scores -= metric.factor(rows.squares[start : start + len(block)]).astype(np.float32)
        if dead is not None:
            scores[:, dead[start : start + len(block)]] = -np.inf
        floors = _floors(scores, lists, lengths, k, metric.scales) - slack
        for at in np.flatnonzero(scores.max(axis=1) >= floors):
            columns = np.flatnonzero(scores[at] >= max(floors[at], -3e38))
            for more in range(0, len(columns), AGAIN):
                chosen = columns[more : more + AGAIN]
                lists[at].merge(chosen + start, *similarities(wide[at], block[chosen], metric))
    return lists


def _floors(scores: npt.NDArray[np.float32], lists: list[_Best], lengths: Doubles, k: int, scales: bool) -> Doubles:
    """Return what a row's product must reach, but for rounding, to be among the `k` nearest [query]."""
    floors = np.array([best.floor for best in lists])
    if scales:
        floors /= lengths  # scores of whole queries, products of queries of length 1
    room = np.isneginf(floors)
    if room.any() and scores.shape[1] > k:
        # k rows of this block alone have such a product or a larger one
        place = scores.shape[1] - k
        floors[room] = np.partition(scores[room], place, axis=1)[:, place]
    return floors


def _rounding(rows: Rows, start: int, n: int, lengths: Doubles) -> Doubles:
    """Return by how much a product can be lower than that of the `k`-th row and still belong to a nearer one [query].

    n * 2**-24 of the product of lengths bounds the error of a sum of n products in float32, whatever its order; twice,
    since both sides have it. The rest is for lengths that are 1 but for rounding, and for similarities in float32.
    """
    unit = 2 * (rows.dim + 16) * 2.0**-24
    if rows.metric.scales:
        return np.full(len(lengths), unit)
    longest = float(np.sqrt(rows.squares[start : start + n].max()))
    return np.asarray(unit * 2 * (lengths + longest) ** 2)


def rescored(rows: Rows, queries: Float32[np.ndarray, "query dim"], candidates: Ints, k: int) -> Found:
    """Find the `k` nearest among candidates [query, candidate] (-1 for none), by their exact similarities.

    Returns:
        As `nearest`.
    """
    found = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    for at, query in enumerate(queries.astype(np.float64)):
        chosen = np.unique(candidates[at][candidates[at] >= 0])
        best = _Best(k)
        for more in range(0, len(chosen), AGAIN):
            part = chosen[more : more + AGAIN]
            best.merge(part, *similarities(query, rows.take(part), rows.metric))
        found[0][at, : len(best.rows)] = best.similarity
        found[1][at, : len(best.rows)] = best.rows
    return found
