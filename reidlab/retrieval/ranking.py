"""Find the rank of every true match, in blocks of queries.

No index sort of whole rows and no full distance matrix: the rank of a match is 1 + the number of valid gallery images
nearer to the query. Large problems count them by compiled comparison (`counting`). Small ones, and all where numba is
missing, sort a row's *values* in place (SIMD in NumPy 2, a tenth of the time of an argsort) and look each match up by
bisection. Ties stand in gallery order. Inside, a score is larger-is-closer: the
dot product scaled by the gallery norm (cosine) or less half its square (euclidean); both rank as the distance does.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from reidlab.retrieval.counting import EXACT, LARGE, Counter, compiled_counter
from reidlab.retrieval.inputs import Problem

__all__ = ["BLOCK_MIB", "RULES", "Matches", "Scorer", "rank_matches"]

RULES = ("official", "no_camera", "drop_same_camera")
BLOCK_MIB = 128
CHUNK = 8  # rows sorted at a time: they stay in the second-level cache
LANES = 16  # BLAS kernels take so many columns at a time, or a divisor of it; the rest goes to others

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class Matches:
    """The true matches of all queries, ordered by query, then rank; `column` counts in the problem's gallery.

    `distance` is 1 - cosine or Euclidean. A value a query: `n_ignored`, `wrong_distance` (nearest wrong image or NaN).
    """

    query: Ints
    column: Ints
    rank: Ints
    distance: Floats
    n_ignored: Ints
    wrong_distance: Floats


class Scorer:
    """Score blocks of queries against the gallery; gallery factors are applied row by row, in the cache.

    BLAS multiplies the last few columns by another kernel, which rounds otherwise: where they hold an image that stands
    further left too, its column is taken, so that equal images tie.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.cosine = problem.metric == "cosine"
        squares = np.einsum("ij,ij->i", problem.gallery, problem.gallery)
        self.factor = 1 / np.sqrt(squares) if self.cosine else squares / 2
        self._twins = _twins(problem.gallery)
        self.query_squares = np.einsum("ij,ij->i", problem.query, problem.query).astype(np.float64)

    def multiply(self, query: Floats, out: Floats | None = None) -> Floats:
        """Give the dot products of queries [row, dim] with the gallery, [row, gallery]."""
        product: Floats = np.matmul(query, self.problem.gallery.T, out=out)
        for column, first in self._twins:
            product[..., column] = product[..., first]
        return product

    def finish(self, dots: Floats, out: Floats) -> Floats:
        """Turn dot products [row, gallery] into scores."""
        return (np.multiply if self.cosine else np.subtract)(dots, self.factor, out=out)

    def distance(self, query: Ints, score: Floats) -> Floats:
        """Turn scores into distances (float64): 1 - cosine, or Euclidean."""
        squares = self.query_squares[query]
        score = score.astype(np.float64)
        if self.cosine:
            return 1 - score / np.sqrt(squares)
        return np.sqrt(np.maximum(squares - 2 * score, 0))


def _twins(gallery: Floats) -> list[tuple[int, int]]:
    """Find those of the last columns whose image stands further left as well: (column, the first one of the image)."""
    found = []
    for column in range(len(gallery) - len(gallery) % LANES, len(gallery)):
        telling = int(np.abs(gallery[column]).argmax())  # few other images share the largest value
        alike = np.flatnonzero(gallery[:column, telling] == gallery[column, telling])
        equal = alike[(gallery[alike] == gallery[column]).all(axis=1)]
        found += [(column, int(equal[0]))] if len(equal) else []
    return found


def _by_identity(problem: Problem) -> tuple[Ints, Ints, Ints]:
    """Give the gallery columns ordered by identity and, for each query, where its identity begins and ends."""
    order = np.argsort(problem.gallery_codes, kind="stable")
    codes = problem.gallery_codes[order]
    return order, np.searchsorted(codes, problem.query_codes), np.searchsorted(codes, problem.query_codes, "right")


def _equal_before(row: Floats, column: int, score: Any) -> int:
    """Count images of the same score that stand earlier in the gallery."""
    return int(np.count_nonzero(row[:column] == score))


def _count_nearer(scores: Floats, row: Ints, score: Floats) -> tuple[Ints, Floats]:
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
    """Do the work of `_count_nearer` on the values from the hardest match upwards."""
    nearer, edge = np.zeros(len(score), np.int64), np.full(len(score), -np.inf, scores.dtype)
    for line, begin, end, low in zip(scores, ends, ends[1:], lowest):
        front = line.compress(line >= low)  # a fifth of the time of line[mask]
        if len(front):
            front.sort()
            below = front.searchsorted(score[begin:end], "right")
            nearer[begin:end] = len(front) - below
            edge[begin:end] = front[below - 1]
    return nearer, edge


class _Ranker:
    """Work on one problem; `chunk` is called from several threads, each with its own buffer."""

    def __init__(self, problem: Problem, rule: str) -> None:
        self.problem, self.rule = problem, rule
        self.scorer = Scorer(problem)
        self.order, self.start, self.stop = _by_identity(problem)
        cams = problem.gallery_cams
        self.cameras = rule != "no_camera" and cams is not None
        self.by_camera = {}
        if rule == "drop_same_camera" and cams is not None:
            self.by_camera = {int(cam): np.flatnonzero(cams == cam) for cam in np.unique(cams)}

    def same_identity(self, queries: Ints) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """List all gallery images of the queries' identities: row in `queries`, column, ignored or not."""
        counts = self.stop[queries] - self.start[queries]
        row = np.repeat(np.arange(len(queries)), counts)
        within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        column = self.order[np.repeat(self.start[queries], counts) + within]
        ignored = np.zeros(len(row), bool)
        if self.cameras:
            assert self.problem.query_cams is not None and self.problem.gallery_cams is not None
            ignored = self.problem.query_cams[queries][row] == self.problem.gallery_cams[column]
        return row, column, ignored

    def mask_camera(self, scores: Floats, queries: Ints) -> int:
        """Take every image of the query's own camera out (the rule of some published code, not the official one)."""
        assert self.problem.query_cams is not None
        for row, query in zip(scores, queries.tolist()):
            row[self.by_camera.get(int(self.problem.query_cams[query]), [])] = -np.inf
        return 0

    def chunk(self, dots: Floats, first: int, buffer: Floats) -> tuple[Floats, ...]:
        """Rank the matches of a few queries.

        Gives the queries; for each match query, column, score and wrong images nearer; by query ignored, best wrong.
        """
        queries = np.arange(first, first + len(dots))
        scores = self.scorer.finish(dots, buffer[: len(dots)])
        row, column, ignored = self.same_identity(queries)
        score = scores[row, column]
        scores[row, column] = -np.inf
        if self.by_camera:
            self.mask_camera(scores, queries)
        n_ignored = np.bincount(row[ignored], minlength=len(queries))
        row, column, score = row[~ignored], column[~ignored], score[~ignored]
        wrong = scores.max(axis=1)
        nearer = self._by_sorting(dots, scores, queries, row, column, score)
        return queries, queries[row], column, score, nearer, n_ignored, wrong

    def counted(self, counter: Counter, dots: Floats, first: int) -> tuple[Floats, ...]:
        """Do what `chunk` does by compiled comparison: many queries in one call, the interpreter free meanwhile."""
        problem, queries, kind = self.problem, np.arange(first, first + len(dots)), dots.dtype
        row, column, ignored = self.same_identity(queries)
        ends = np.searchsorted(row, np.arange(len(dots) + 1))
        none = np.empty(0, np.int64)
        cams, dropped = none, none
        if self.by_camera:
            assert problem.query_cams is not None and problem.gallery_cams is not None
            cams, dropped = problem.gallery_cams, problem.query_cams[queries]
        score, nearer, wrong = np.empty(len(row), kind), np.empty(len(row), np.int64), np.empty(len(dots), kind)
        factor = self.scorer.factor.astype(kind, copy=False)
        room = np.empty(len(factor), kind)
        counter(dots, factor, self.scorer.cosine, ends, column, cams, dropped, room, score, nearer, wrong)
        n_ignored = np.bincount(row[ignored], minlength=len(dots))
        return queries, queries[row[~ignored]], column[~ignored], score[~ignored], nearer[~ignored], n_ignored, wrong

    def _by_sorting(self, dots: Floats, scores: Floats, queries: Ints, row: Ints, column: Ints, score: Floats) -> Ints:
        """Count the images in front of each match; `scores` is spent."""
        nearer, edge = _count_nearer(scores, row, score)
        tied = np.flatnonzero(edge == score)
        for index in tied.tolist():
            values = self.scorer.finish(dots[row[index]], np.empty_like(scores[0]))
            values[self.order[self.start[queries[row[index]]] : self.stop[queries[row[index]]]]] = -np.inf
            if self.by_camera:
                self.mask_camera(values[None], queries[row[index] : row[index] + 1])
            nearer[index] += _equal_before(values, int(column[index]), score[index])
        return nearer


def n_threads() -> int:
    """Count the processor cores this process may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, 8))


def rank_matches(problem: Problem, *, rule: str = "official", block_mib: float = BLOCK_MIB) -> Matches:
    """Rank every true match of every query among the gallery images that are valid for that query.

    Args:
        problem: what `inputs.prepare` made.
        rule: "official" takes out same identity and same camera; "no_camera" nothing; "drop_same_camera" the
            whole of the query's camera, wrong identities too.
        block_mib: size of the blocks of scores that are held at a time, over all threads.
    """
    n_query, n_gallery = len(problem.query), len(problem.gallery)
    ranker = _Ranker(problem, rule)
    counter = compiled_counter() if n_query * n_gallery >= LARGE and n_gallery < EXACT else None
    threads = min(n_threads(), n_query)
    rows = max(1.0, block_mib * 2**20 / (threads * n_gallery * problem.gallery.itemsize))
    blocks = min(threads * math.ceil(n_query / (rows * threads)), n_query)
    cuts = [n_query * part // blocks for part in range(blocks + 1)]
    rows_held = math.ceil(n_query / blocks)

    def work(thread: int) -> list[tuple[Floats, ...]]:
        held = np.empty((rows_held, n_gallery), problem.gallery.dtype)
        buffer = np.empty((min(CHUNK, rows_held), n_gallery), problem.gallery.dtype)
        pieces: list[tuple[Floats, ...]] = []
        for begin, end in list(pairwise(cuts))[thread::threads]:
            dots = ranker.scorer.multiply(problem.query[begin:end], held[: end - begin])
            if counter is not None:
                pieces.append(ranker.counted(counter, dots, begin))
                continue
            starts = range(0, end - begin, CHUNK)
            pieces += [ranker.chunk(dots[at : at + CHUNK], begin + at, buffer) for at in starts]
        return pieces

    # Each thread multiplies and sorts its own blocks: BLAS threads would go on spinning while the others sort
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        pieces = [piece for pieces in pool.map(work, range(threads)) for piece in pieces]
    pieces.sort(key=lambda piece: piece[0][0])
    return _gather(ranker.scorer, *(np.concatenate(part) for part in list(zip(*pieces))[1:]))


def _gather(
    scorer: Scorer, query: Ints, column: Ints, score: Floats, nearer: Ints, n_ignored: Ints, wrong: Floats
) -> Matches:
    """Order the matches of each query and add those that are nearer to the wrong ones that are."""
    order = np.lexsort((-score, query))  # stable: equal scores stay in gallery order
    query, column, score, nearer = query[order], column[order], score[order], nearer[order]
    starts = np.searchsorted(query, np.arange(len(n_ignored)))
    rank = nearer + np.arange(len(query)) - starts[query] + 1
    distance = scorer.distance(query, score)
    some = np.isfinite(wrong)
    wrong_distance = np.full(len(wrong), np.nan)
    wrong_distance[some] = scorer.distance(np.flatnonzero(some), wrong[some])
    return Matches(query, column, rank, distance, n_ignored, wrong_distance)
