"""Rank a gallery that is cut into shards, here or on several machines: every rank is the one of the whole gallery.

The rank of a match is 1 + the number of valid images in front of it: a sum over shards, once all of them know its
score. So there are two passes: the shards score the matches that they hold, then each counts what it has in front of
every match. Products are made in the tiles that `ranking` makes too, and equal images are held by one shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.matching import Matches, Ranker, gather
from reidlab.retrieval.scoring import COLUMNS, Scorer
from reidlab.retrieval.shards import Listed, Shard
from reidlab.retrieval.spans import Lines

__all__ = ["Call", "cut", "rank_in_panels", "rank_sharded", "shard_starts"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]
# call(method of Shard, what it is called with at each shard) gives what it returned at each, in their order
Call = Callable[[str, Iterable[tuple[Any, ...]]], list[Any]]


class _Plan(NamedTuple):
    """Where gallery images are: the shard and the column in it, of each of the whole gallery [gallery]."""

    shard: Ints
    local: Ints
    held: list[Ints]  # the columns of each shard


def shard_starts(n_gallery: int, n_shards: int) -> Ints:
    """Return where each run begins, a multiple of `COLUMNS`, and `n_gallery` last: as many runs as there are tiles."""
    tiles = -(-n_gallery // COLUMNS)
    n_shards = min(n_shards, tiles)
    return np.minimum(np.arange(n_shards + 1) * tiles // n_shards * COLUMNS, n_gallery)


def _plan(first: Ints, starts: Ints) -> _Plan:
    """Put every image where the first that equals it is."""
    shard = np.searchsorted(starts, first, "right") - 1
    order = np.argsort(shard, kind="stable")
    ends = np.searchsorted(shard[order], np.arange(len(starts)))
    local, held = np.empty(len(first), np.int64), []
    for at, (begin, end) in enumerate(pairwise(starts)):
        own, here = np.arange(begin, end), order[ends[at] : ends[at + 1]]
        columns = np.concatenate([own, here[here >= end]])  # with those of the run that are held elsewhere
        local[here] = np.searchsorted(columns, here)
        held.append(columns)
    return _Plan(shard, local, held)


def cut(problem: Problem, scorer: Scorer, rule: str, starts: Ints) -> Iterator[Shard]:
    """Give the shards one after another; their vectors are views of the problem's."""
    plan = _plan(scorer.first, starts)
    for at, columns in enumerate(plan.held):
        vectors, first = problem.gallery[starts[at] : starts[at + 1]], scorer.first[columns]
        here = plan.shard[columns] == at
        again = np.flatnonzero(here & (first != columns))
        cams = problem.gallery_cams[columns] if _drops(problem, rule) else np.zeros(0, np.int64)  # type: ignore[index]
        yield Shard(
            vectors=vectors,
            columns=columns,
            again=again,
            first=first[again] - starts[at],
            gone=np.flatnonzero(~here),
            factor=scorer.factor[columns].astype(vectors.dtype, copy=False),
            scales=scorer.scales,
            cams=cams,
        )


def _drops(problem: Problem, rule: str) -> bool:
    return rule == "drop_same_camera" and problem.gallery_cams is not None


def rank_sharded(
    problem: Problem, scorer: Scorer, rule: str, starts: Ints, call: Call, threads: Sequence[int]
) -> Matches:
    """Rank every true match, as `rank_matches` does, by shards that `cut` made and somebody holds.

    Args:
        problem: as for `rank_matches`.
        scorer: of its vectors.
        rule: as for `rank_matches`.
        starts: where shards begin, as `cut` got them.
        call: calls a method of all shards; the first argument (the queries' vectors) is left to it.
        threads: of each shard.
    """
    plan, lines = _plan(scorer.first, starts), Lines(scorer.query_first)
    row, column, ignored = Ranker(problem, rule, scorer).listed(lines.order)
    line = lines.line[lines.order]
    edges = np.arange(len(line) + 1)
    at, home = np.flatnonzero(~ignored), plan.shard[column]
    of_shard = [at[home[at] == shard] for shard in range(len(plan.held))]

    score = np.empty(len(row), problem.gallery.dtype)
    places = [(line[row[pairs]], plan.local[column[pairs]]) for pairs in of_shard]
    found = call("scores", [(*place, most) for place, most in zip(places, threads)])
    for pairs, values in zip(of_shard, found):
        score[pairs] = values

    cams = problem.query_cams[lines.order] if _drops(problem, rule) else np.zeros(0, np.int64)  # type: ignore[index]
    sought = np.searchsorted(row[at], edges)

    def asked() -> Iterator[tuple[Listed, int]]:  # one at a time: each has a place for every match
        for shard, columns in enumerate(plan.held):
            here = home == shard
            ends, place = np.searchsorted(row[here], edges), np.searchsorted(columns, column[at])
            yield Listed(line, ends, plan.local[column[here]], cams, sought, score[at], place), threads[shard]

    counts = call("count", asked())
    nearer = np.sum([each for each, _ in counts], axis=0)
    wrong = np.max([each for _, each in counts], axis=0)
    n_ignored = np.bincount(row[ignored], minlength=len(line))
    return gather(scorer, lines.order, lines.order[row[at]], column[at], score[at], nearer, n_ignored, wrong)


def rank_in_panels(problem: Problem, scorer: Scorer, rule: str, panel: int, threads: int) -> Matches:
    """Rank every true match, as `rank_matches` does, with no more scores at a time than those of a panel by thread.

    Args:
        problem: as for `rank_matches`.
        scorer: of its vectors.
        rule: as for `rank_matches`.
        panel: images of a panel, a multiple of `COLUMNS`.
        threads: that work at the same time.
    """
    n_gallery = len(problem.gallery)
    starts = np.append(np.arange(0, n_gallery, panel), n_gallery)
    shards = list(cut(problem, scorer, rule, starts))
    lines = problem.query[np.unique(scorer.query_first)]

    def call(method: str, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        return [getattr(shard, method)(lines, *given) for shard, given in zip(shards, arguments)]

    return rank_sharded(problem, scorer, rule, starts, call, [threads] * len(shards))
