"""The true matches of queries: which they are, and their ranks from scores that somebody holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.retrieval.counting import Counter
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.sorting import count_nearer, equal_before
from reidlab.retrieval.spans import Spans

__all__ = ["RULES", "Matches", "Ranker", "gather"]

RULES = ("official", "no_camera", "drop_same_camera")

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
