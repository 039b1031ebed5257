"""What an explorer of embeddings knows of its points: their groups, and how each query fared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.figure_text import cut
from reidlab.plots.point_maps import PointGroup
from reidlab.plots.style import IGNORED, RIGHT, WRONG
from reidlab.retrieval.checks import check_choice, check_whole
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.planes import PLANE_SIZES, plane, sample_rows, unit_rows
from reidlab.retrieval.vectors import Embeddings

__all__ = ["COLOURS", "FARED", "Groups", "Planes", "fared", "first_choice", "group_points", "who"]

COLOURS = ("identity", "camera", "split", "error")
FARED = ("not a query", "– no valid match", "✓ first image right", "✗ first image wrong")
_OTHER = "#8F8F8F"
# Okabe and Ito without the grey and the brown, which are hard to see on a dark page
_BRIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


@dataclass(frozen=True)
class Groups:
    """Points in groups; later groups lie above earlier ones.

    Attributes:
        title: what the groups are.
        codes: the group of each point [image].
        groups: how they are drawn.
    """

    title: str
    codes: Int64[np.ndarray, " image"]
    groups: tuple[PointGroup, ...]

    def names(self) -> list[str]:
        """Return the group's name for every point [image]."""
        return [self.groups[code].name for code in self.codes]

    def counts(self) -> list[int]:
        """Return how many points each group has."""
        return [int(count) for count in np.bincount(self.codes, minlength=len(self.groups))]


class Planes:
    """Maps of embeddings, each computed once.

    Args:
        embeddings: compared by cosine.
        limit: images at most, drawn at random; None: as many as the method takes in about a minute.
        seed: of the draw and of the methods.
    """

    def __init__(self, embeddings: Embeddings, limit: int | None, seed: int) -> None:
        self.vectors, self.seed = embeddings.vectors, seed
        self.limit = None if limit is None else check_whole("max_images", limit, 5, 2**31)
        self._made: dict[str, tuple[Int64[np.ndarray, " row"], Float64[np.ndarray, "row 2"]]] = {}

    def get(self, method: str) -> tuple[Int64[np.ndarray, " row"], Float64[np.ndarray, "row 2"]]:
        """Return the rows that are drawn, in their order, and their points.

        Raises:
            UserError: fewer than five images.
        """
        if method not in self._made:
            rows = sample_rows(len(self.vectors), self.limit or PLANE_SIZES[method], seed=self.seed)
            self._made[method] = rows, plane(unit_rows(self.vectors[rows]), method, seed=self.seed)
        return self._made[method]


def fared(table: pd.DataFrame, result: RetrievalResult | None) -> Int64[np.ndarray, " image"]:
    """Return how each image fared as a query [image]: its place in `FARED`.

    Args:
        table: image table whose queries are those of the result, in the same order.
        result: what `evaluate` found; None: nothing is known.

    Raises:
        UserError: the result is of another number of queries.
    """
    found = np.zeros(len(table), np.int64)
    if result is None:
        return found
    rows = np.flatnonzero((table["split"] == "query").to_numpy())
    if len(rows) != result.n_query:
        raise UserError(
            f"The result has {result.n_query:,} queries and the embeddings {len(rows):,}: they are not of one "
            "evaluation. Searches with the mean of several images (multi_query) have no image for a query; leave "
            "`result` out for them."
        )
    valid, first = result.per_query["valid"].to_numpy(bool), result.per_query["first_rank"].to_numpy()
    found[rows] = np.where(~valid, 1, np.where(first == 1, 2, 3))
    return found


def group_points(table: pd.DataFrame, by: str, outcome: Int64[np.ndarray, " image"]) -> Groups:
    """Put images in groups to colour them by: six at most have a colour of their own, all others are grey.

    Args:
        table: image table.
        by: one of `COLOURS`.
        outcome: of `fared` [image].

    Raises:
        UserError: an unknown kind, or one that the table does not know (no cameras).
    """
    check_choice("colour", by, COLOURS)
    if by == "error":
        drawn = (
            PointGroup(FARED[0], _OTHER),
            PointGroup(FARED[1], IGNORED.colour, "v"),
            PointGroup(FARED[2], RIGHT.colour, "o", 2.0),
            PointGroup(FARED[3], WRONG.colour, "X", 4.0),
        )
        return Groups("first image of the query", outcome, drawn)
    column = {"identity": "pid", "camera": "camid", "split": "split"}[by]
    if column not in table:
        raise UserError(f"colour={by!r} needs the column {column}; this table has none.")
    values = table[column].to_numpy()
    known = ~(is_junk(table) | is_distractor(table)).to_numpy() if by == "identity" else np.ones(len(table), bool)
    names, codes = _largest(values, known)
    n_other = len(set(values[codes == 0].tolist()))
    other = f"{n_other:,} other{'' if by == 'split' else ' ' + _plural(by, n_other)}"
    groups = [PointGroup(other, _OTHER)]
    groups += [PointGroup(f"{by} {name}", colour) for name, colour in zip(names, _BRIGHT)]
    if n_other == 0:
        groups, codes = groups[1:], codes - 1
    return Groups(by, codes, tuple(groups))


def first_choice(
    table: pd.DataFrame, rows: Int64[np.ndarray, " row"], outcome: Int64[np.ndarray, " image"]
) -> list[int]:
    """Return the rows that are shown before anybody chooses: wrong queries, or else the first coloured identity."""
    wrong = rows[outcome[rows] == FARED.index("✗ first image wrong")]
    if len(wrong):
        return [int(row) for row in wrong]
    found = group_points(table.iloc[rows], "identity", outcome[rows])
    coloured = [code for code, group in enumerate(found.groups) if group.colour != _OTHER]
    return [int(row) for row in rows[found.codes == coloured[0]]] if coloured else []


def _largest(values: np.ndarray, known: np.ndarray) -> tuple[list[object], Int64[np.ndarray, " image"]]:
    """Return the six values with most images, in their order, and each image's: 1, 2, ...; 0 for the others."""
    numbers, distinct = pd.factorize(values, sort=True)
    counts = np.bincount(numbers[known], minlength=len(distinct))
    largest = np.sort(np.argsort(-counts, kind="stable")[: len(_BRIGHT)])
    largest = largest[counts[largest] > 0]
    place = np.zeros(len(distinct), np.int64)
    place[largest] = np.arange(1, len(largest) + 1)
    return list(np.asarray(distinct)[largest].tolist()), np.where(known, place[numbers], 0)


def who(table: pd.DataFrame, row: int) -> str:
    """Return who is on an image in words: an identity, a distractor or junk."""
    one = table.iloc[[row]]
    if bool(is_junk(one).iloc[0]):
        return "junk"
    return "distractor" if bool(is_distractor(one).iloc[0]) else f"identity {cut(table['pid'].iloc[row], 24)}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else {"identity": "identities", "camera": "cameras"}[word]
