"""Find the rank of every true match, in blocks of queries.

No index sort of whole rows and no full distance matrix: the rank of a match is 1 + the number of valid gallery images
nearer to the query. Large problems count them by compiled comparison (`counting`). Small ones, and all where numba is
missing, sort a row's values (`sorting`). Ties stand in gallery order. Inside, a score is larger-is-closer: the dot
product scaled by the gallery norm (cosine) or less half its square (euclidean); both rank as the distance does.

What holds to the bit: equal gallery images have one score for a query, and equal queries have one row of scores,
because it is computed once and copied (`equal`). Comparing and counting are exact. All other last bits of a score hold
for one kind of processor and one version of the BLAS; neither for another number of threads nor another block size do
they change (`Scorer.tiled`), as long as `ROWS` rows of scores fit into a block.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.retrieval.blas import one_blas_thread
from reidlab.retrieval.counting import LARGE, Counter, compiled_counter
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.scoring import ROWS, Scorer
from reidlab.retrieval.sorting import count_nearer, equal_before
from reidlab.retrieval.spans import Lines, Spans

__all__ = ["BLOCK_MIB", "RULES", "Matches", "Ranker", "gather", "rank_matches"]

RULES = ("official", "no_camera", "drop_same_camera")
BLOCK_MIB = 512  # four threads with a gallery of half a million; smaller galleries need next to nothing of it
CACHE = 4 * 2**20  # bytes of scores; where a gallery is small, more lines of a block than this gain nothing
CHUNK = 8  # rows sorted at a time: they stay in the second-level cache

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


class Ranker:
    """Work on one problem; `chunk` is called from several threads, each with its own buffer."""

    def __init__(self, problem: Problem, rule: str, scorer: Scorer) -> None:
        self.problem, self.rule, self.scorer = problem, rule, scorer
        self.people = Spans(problem.query_codes, problem.gallery_codes)
        self.images = None
        if problem.query_images is not None and problem.gallery_images is not None:
            self.images = Spans(problem.query_images, problem.gallery_images)
        cams = problem.gallery_cams
        self.by_camera = {}
        if rule == "drop_same_camera" and cams is not None:
            self.by_camera = {int(cam): np.flatnonzero(cams == cam) for cam in np.unique(cams)}

    def listed(self, queries: Ints) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """List all gallery images of the queries' identities, and those that are the query itself, whoever they show.

        Gives row in `queries` (ascending), column, ignored or not.
        """
        problem = self.problem
        row, column = self.people.listed(queries)
        if self.images is not None:
            row_too, column_too = self.images.listed(queries)
            strange = problem.gallery_codes[column_too] != problem.query_codes[queries][row_too]
            if strange.any():
                row, column = np.append(row, row_too[strange]), np.append(column, column_too[strange])
                order = np.argsort(row, kind="stable")
                row, column = row[order], column[order]
        return row, column, problem.is_ignored(queries[row], column, cameras=self.rule != "no_camera")

    def mask_camera(self, scores: Floats, queries: Ints) -> None:
        """Take every image of the query's own camera out (the rule of some published code, not the official one)."""
        assert self.problem.query_cams is not None
        for row, query in zip(scores, queries.tolist()):
            row[self.by_camera.get(int(self.problem.query_cams[query]), [])] = -np.inf

    def chunk(self, dots: Floats, queries: Ints, buffer: Floats) -> tuple[Floats, ...]:
        """Rank the matches of a few queries.

        Gives the queries; for each match query, column, score and wrong images nearer; by query ignored, best wrong.
        """
        scores = self.scorer.finish(dots, buffer[: len(dots)])
        row, column, ignored = self.listed(queries)
        score = scores[row, column]
        scores[row, column] = -np.inf
        if self.by_camera:
            self.mask_camera(scores, queries)
        n_ignored = np.bincount(row[ignored], minlength=len(queries))
        wrong = scores.max(axis=1)
        nearer = self._by_sorting(
            dots, scores, queries, (row, column), (row[~ignored], column[~ignored], score[~ignored])
        )
        return queries, queries[row[~ignored]], column[~ignored], score[~ignored], nearer, n_ignored, wrong

    def counted(self, counter: Counter, dots: Floats, queries: Ints, line: Ints) -> tuple[Floats, ...]:
        """Do what `chunk` does by compiled comparison: many queries in one call, the interpreter free meanwhile.

        `line` is the row of `dots` for each query.
        """
        problem, kind = self.problem, dots.dtype
        row, column, ignored = self.listed(queries)
        ends = np.searchsorted(row, np.arange(len(queries) + 1))
        none = np.empty(0, np.int64)
        cams, dropped = none, none
        if self.by_camera:
            assert problem.query_cams is not None and problem.gallery_cams is not None
            cams, dropped = problem.gallery_cams, problem.query_cams[queries]
        factor = self.scorer.factor.astype(kind, copy=False)
        at = row[~ignored]
        place, sought = column[~ignored], np.searchsorted(at, np.arange(len(queries) + 1))
        score = self.scorer.finish_pairs(dots[line[at], place], place)
        nearer, wrong = np.empty(len(at), np.int64), np.empty(len(queries), kind)
        scales = self.scorer.scales
        counter(dots, line, factor, scales, ends, column, cams, dropped, sought, score, place, nearer, wrong)
        n_ignored = np.bincount(row[ignored], minlength=len(queries))
        return queries, queries[at], place, score, nearer, n_ignored, wrong

    def _by_sorting(
        self, dots: Floats, scores: Floats, queries: Ints, listed: tuple[Ints, Ints], matches: tuple[Ints, Ints, Floats]
    ) -> Ints:
        """Count the images in front of each match; `scores` is spent, `listed` holds those without a rank too."""
        row, column, score = matches
        nearer, edge = count_nearer(scores, row, score)
        tied = np.flatnonzero(edge == score)
        begins = np.searchsorted(listed[0], np.arange(len(queries) + 1))
        for index in tied.tolist():
            at = row[index]
            values = self.scorer.finish(dots[at], np.empty_like(scores[0]))
            values[listed[1][begins[at] : begins[at + 1]]] = -np.inf
            if self.by_camera:
                self.mask_camera(values[None], queries[at : at + 1])
            nearer[index] += equal_before(values, int(column[index]), score[index])
        return nearer


def n_threads() -> int:
    """Count the processor cores this process may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, 8))


def _shares(n_lines: int, row_bytes: int, block_mib: float) -> tuple[int, int]:
    """Return how many threads work, and on how many lines each at a time: a multiple of `ROWS` where that fits."""
    room = int(block_mib * 2**20 / row_bytes)
    if room < ROWS:
        return 1, max(1, room)
    threads = min(n_threads(), math.ceil(n_lines / ROWS), room // ROWS)
    most = min(room // threads, max(ROWS, CACHE // row_bytes), math.ceil(n_lines / threads))
    return threads, max(1, most // ROWS) * ROWS


def rank_matches(
    problem: Problem, *, rule: str = "official", block_mib: float = BLOCK_MIB, scorer: Scorer | None = None
) -> Matches:
    """Rank every true match of every query among the gallery images that are valid for that query.

    Args:
        problem: what `inputs.problem_of` made.
        rule: "official" takes out same identity and same camera; "no_camera" nothing; "drop_same_camera" the
            whole of the query's camera, wrong identities too.
        block_mib: size of the blocks of scores that are held at a time, over all threads.
        scorer: what scores the queries; by default the problem's vectors under its metric.
    """
    n_query, n_gallery = len(problem.query), len(problem.gallery)
    scorer = Scorer(problem) if scorer is None else scorer
    ranker = Ranker(problem, rule, scorer)
    lines = Lines(scorer.query_first)
    counter = compiled_counter() if n_query * n_gallery >= LARGE else None
    threads, step = _shares(len(lines), n_gallery * scorer.dtype.itemsize, block_mib)
    blocks = iter([(begin, min(begin + step, len(lines))) for begin in range(0, len(lines), step)])

    def work(_: int) -> list[tuple[Floats, ...]]:
        held = np.empty((min(step, len(lines)), n_gallery), scorer.dtype)
        buffer = np.empty((min(CHUNK, n_query), n_gallery), scorer.dtype)
        pieces: list[tuple[Floats, ...]] = []
        for begin, end in blocks:  # whichever thread is free takes the next
            first, queries, line = lines.block(begin, end)
            dots = scorer.tiled(first, held[: end - begin])
            if counter is not None:
                pieces.append(ranker.counted(counter, dots, queries, line))
                continue
            for at in range(0, len(queries), CHUNK):
                few = line[at : at + CHUNK]
                own = dots[few[0] : few[-1] + 1] if few[-1] - few[0] + 1 == len(few) else dots[few]
                pieces.append(ranker.chunk(own, queries[at : at + CHUNK], buffer))
        return pieces

    # Each thread multiplies and sorts its own blocks: BLAS threads would go on spinning while the others sort
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        pieces = [piece for pieces in pool.map(work, range(threads)) for piece in pieces]
    return gather(scorer, *(np.concatenate(part) for part in zip(*pieces)))


def gather(
    scorer: Scorer,
    queries: Ints,
    query: Ints,
    column: Ints,
    score: Floats,
    nearer: Ints,
    n_ignored: Ints,
    wrong: Floats,
) -> Matches:
    """Order the matches of each query and add those that are nearer to the wrong ones that are."""
    place = np.argsort(queries)
    n_ignored, wrong = n_ignored[place], wrong[place]
    order = np.lexsort((column, -score, query))  # equal scores stand in gallery order
    query, column, score, nearer = query[order], column[order], score[order], nearer[order]
    starts = np.searchsorted(query, np.arange(len(n_ignored)))
    rank = nearer + np.arange(len(query)) - starts[query] + 1
    distance = scorer.distance(query, score)
    some = np.isfinite(wrong)
    wrong_distance = np.full(len(wrong), np.nan)
    wrong_distance[some] = scorer.distance(np.flatnonzero(some), wrong[some])
    return Matches(query, column, rank, distance, n_ignored, wrong_distance)
