"""Find the rank of every true match, in blocks of queries.

No index sort of whole rows and no full distance matrix: the rank of a match is 1 + the number of valid gallery images
nearer to the query. Large problems count them by compiled comparison (`counting`). Small ones, and all where numba is
missing, sort a row's values (`sorting`). Ties stand in gallery order. Inside, a score is larger-is-closer: the dot
product scaled by the gallery norm (cosine) or less half its square (euclidean); both rank as the distance does.

What holds to the bit: equal gallery images have one score for a query, and equal queries have one row of scores,
because it is computed once and copied (`equal`). Comparing and counting are exact. All other last bits of a score hold
for one kind of processor and one version of the BLAS; neither for another number of threads nor another block size do
they change (`Scorer.tiled`).

Where blocks of whole rows would be too large for all threads, the gallery is ranked in panels (`sharded`): the matches
are scored first, then each panel counts what it has in front of them. Tiles of products that hold a match are made
twice, few of them in a gallery that is so large.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.retrieval.blas import one_blas_thread
from reidlab.retrieval.counting import LARGE, compiled_counter
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.matching import Matches, Ranker, gather
from reidlab.retrieval.scoring import COLUMNS, ROWS, Scorer
from reidlab.retrieval.sharded import rank_in_panels
from reidlab.retrieval.shards import CACHE
from reidlab.retrieval.spans import Lines

__all__ = ["BLOCK_MIB", "n_threads", "rank_matches"]

BLOCK_MIB = 512  # four threads with a gallery of half a million; smaller galleries need next to nothing of it
CHUNK = 8  # rows sorted at a time: they stay in the second-level cache

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]
Shares = tuple[int, int, int]


def n_threads() -> int:
    """Count the processor cores this process may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, 8))


def _shares(n_lines: int, n_gallery: int, itemsize: int, block_mib: float, per_line: float | None = 0) -> Shares:
    """Share a budget out.

    Gives how many threads work, on how many lines each at a time (a multiple of `ROWS`), and how many gallery images
    these have scores of: all of them, or a multiple of `COLUMNS`. A thread has one tile of products at least.
    `per_line` is the number of images of a line's identity; None: the gallery has no panels, and a thread one line at
    least.
    """
    room = int(block_mib * 2**20) // (itemsize * max(1, n_gallery))  # lines
    wanted = min(n_threads(), math.ceil(n_lines / ROWS))
    threads = min(wanted, 1 if ROWS > room >= n_lines else room // ROWS)
    if per_line is None and not threads:
        return 1, max(1, room), n_gallery
    # the share of products that panels make again
    twice = math.inf if per_line is None else min(1.0, per_line * ROWS * COLUMNS / max(1, n_gallery))
    if not threads or (1 + twice) * threads < 0.8 * wanted:
        tiles = int(block_mib * 2**20) // (itemsize * ROWS * COLUMNS)
        threads = max(1, min(wanted, tiles))
        return threads, ROWS, COLUMNS * max(1, tiles // threads)
    most = min(room // threads, max(ROWS, CACHE // (itemsize * max(1, n_gallery))), math.ceil(n_lines / threads))
    return threads, max(1, most // ROWS) * ROWS, n_gallery


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
    per_line = float((ranker.people.stop - ranker.people.start).sum()) / max(1, len(lines))
    known = per_line if scorer.multiplies else None
    threads, step, panel = _shares(len(lines), n_gallery, scorer.dtype.itemsize, block_mib, known)
    if panel < n_gallery:
        return rank_in_panels(problem, scorer, rule, panel, threads)
    counter = compiled_counter() if n_query * n_gallery >= LARGE else None
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
