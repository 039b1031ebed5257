"""A part of a gallery, held by one worker of several, that scores its matches and counts what is nearer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reidlab.retrieval import scoring
from reidlab.retrieval.blas import one_blas_thread
from reidlab.retrieval.counting import LARGE, Counter, compiled_counter
from reidlab.retrieval.placed import Mapped, place_of
from reidlab.retrieval.scoring import COLUMNS, ROWS, multiply_tiles

__all__ = ["CACHE", "Listed", "Shard", "count_plainly"]

CACHE = 4 * 2**20  # bytes of scores; where a gallery is small, more lines of a block than this gain nothing

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


class _Sent:
    """What is sent to workers, where arrays may arrive at odd addresses, which makes products three times slower.

    Arrays of a file may be sent by their place; the worker maps them.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, sent in state.items():
            value = sent.open() if isinstance(sent, Mapped) else sent
            # read-only arrays are compiled for once more; of the vectors no copy is made unless it must be
            needs: list[Literal["A", "W"]] = ["A"] if name == "vectors" else ["A", "W"]
            object.__setattr__(self, name, np.require(value, None, needs) if isinstance(value, np.ndarray) else value)


@dataclass(frozen=True)
class Listed(_Sent):
    """What a shard has to know of all queries, in the order of their lines.

    Attributes:
        line: the row of `lines` of each query, ascending [query].
        ends: images that are not wrong for query q are `ends[q]` to `ends[q + 1]` of `column` [query + 1].
        column: their columns in the shard.
        cams: the camera that is left out for each query [query], or empty.
        sought: matches of query q, of all shards, are `sought[q]` to `sought[q + 1]` of the lists below [query + 1].
        score: of each match.
        place: how many of the shard's images stand in front of it in the whole gallery.
    """

    line: Ints
    ends: Ints
    column: Ints
    cams: Ints
    sought: Ints
    score: Floats
    place: Ints

    def part(self, begin: int, end: int) -> tuple[Ints, ...]:
        """Return line, ends, column, cams, sought, score and place of the queries of lines `begin` to `end`."""
        some = slice(*np.searchsorted(self.line, (begin, end)).tolist())
        edges = slice(some.start, some.stop + 1)
        ends, sought = self.ends[edges], self.sought[edges]
        matches = slice(sought[0], sought[-1])
        return (
            self.line[some] - begin,
            ends - ends[0],
            self.column[ends[0] : ends[-1]],
            self.cams[some],
            sought - sought[0],
            self.score[matches],
            self.place[matches],
        )


@dataclass(frozen=True)
class Shard(_Sent):
    """Some gallery images: a run of them, and those further back that equal one of the run.

    So equal images are always together, and none of them needs more than the first one's product.

    Attributes:
        vectors: of the run, which begins at a multiple of `COLUMNS` [own, dim].
        columns: what is held, by the columns in the whole gallery, ascending [held]: the run, then the others.
        again: images that equal an earlier one of the run, by their place in `columns`.
        first: the earlier one of each.
        gone: images of the run that equal one in an earlier run, which holds them too.
        factor: of each image (`scoring.Scorer`) [held].
        scales: a score is the product times the factor; else the product less the factor.
        cams: cameras [held], or empty where none is left out.
    """

    vectors: Floats
    columns: Ints
    again: Ints
    first: Ints
    gone: Ints
    factor: Floats
    scales: bool
    cams: Ints

    def by_place(self) -> Shard:
        """Return what is sent to a process of this machine: of vectors in a file their place alone."""
        place: Any = place_of(self.vectors)
        return self if place is None else replace(self, vectors=place)

    def scores(self, lines: Floats, line: Ints, column: Ints, threads: int) -> Floats:
        """Return the scores of pairs: only the tiles of products that have any are made.

        Args:
            lines: vectors of different queries [line, dim].
            line: row of `lines` of each pair, ascending [pair].
            column: its column in the shard [pair].
            threads: that work at the same time.
        """
        source = np.arange(len(self.columns))
        source[self.again] = self.first
        source, dots = source[column], np.empty(len(line), self.vectors.dtype)
        begins = iter(range(0, len(lines), ROWS))

        def work(_: int) -> None:
            held = np.empty((ROWS, len(self.columns)), self.vectors.dtype)
            for begin in begins:  # whichever thread is free takes the next
                pairs = slice(*np.searchsorted(line, (begin, begin + ROWS)).tolist())
                query = lines[begin : begin + ROWS].copy()
                for start in np.unique(source[pairs] // COLUMNS * COLUMNS).tolist():
                    tile = self.vectors[start : start + COLUMNS]
                    scoring.product(query, tile, held[: len(query), start : start + len(tile)])
                dots[pairs] = held[line[pairs] - begin, source[pairs]]

        with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        return np.asarray((np.multiply if self.scales else np.subtract)(dots, self.factor[column]), dots.dtype)

    def count(self, lines: Floats, listed: Listed, threads: int) -> tuple[Ints, Floats]:
        """Return how many of the shard's wrong images are in front of each match, and the best wrong score by query."""
        counter: Counter = (len(listed.line) * len(self.columns) >= LARGE and compiled_counter()) or count_plainly
        step = ROWS * max(1, CACHE // (len(self.columns) * self.vectors.itemsize * ROWS))
        begins = iter(range(0, len(lines), step))
        nearer, wrong = np.zeros(len(listed.score), np.int64), np.empty(len(listed.line), self.vectors.dtype)

        def work(_: int) -> None:
            held = np.empty((min(step, len(lines)), len(self.columns)), self.vectors.dtype)
            for begin in begins:  # whichever thread is free takes the next
                block = lines[begin : begin + step]
                dots = self._dots(block, held[: len(block)])
                line, ends, column, cams, *matches = listed.part(begin, begin + step)
                found, best = np.empty(len(matches[1]), np.int64), np.empty(len(line), dots.dtype)
                counter(dots, line, self.factor, self.scales, ends, column, self.cams, cams, *matches, found, best)
                some = slice(*np.searchsorted(listed.line, (begin, begin + step)).tolist())
                nearer[listed.sought[some.start] : listed.sought[some.stop]], wrong[some] = found, best

        with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        return nearer, wrong

    def _dots(self, lines: Floats, out: Floats) -> Floats:
        """Return the products of some lines with all images; those that are elsewhere are -infinity."""
        blocks = [lines[at : at + ROWS] for at in range(0, len(lines), ROWS)]
        multiply_tiles(blocks, self.vectors, out[:, : len(self.vectors)])
        for row in out:
            row[self.again] = row[self.first]
            row[self.gone] = -np.inf
        return out


def count_plainly(
    dots: Floats,
    lines: Ints,
    factor: Floats,
    scales: bool,
    ends: Ints,
    column: Ints,
    gallery_cams: Ints,
    dropped: Ints,
    sought: Ints,
    score: Floats,
    place: Ints,
    nearer: Ints,
    wrong: Floats,
) -> None:
    """Do what `counting` compiles, for small problems, or where nothing can be compiled."""
    for query, line in enumerate(lines.tolist()):
        row = (np.multiply if scales else np.subtract)(dots[line], factor)
        row[column[ends[query] : ends[query + 1]]] = -np.inf
        if len(dropped):
            row[gallery_cams == dropped[query]] = -np.inf
        wrong[query] = row.max()
        for match in range(sought[query], sought[query + 1]):
            split = place[match]
            left, right = row[:split] >= score[match], row[split:] > score[match]
            nearer[match] = np.count_nonzero(left) + np.count_nonzero(right)
