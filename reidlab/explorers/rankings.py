"""Rank a gallery for one image at a time, as `retrieval` does: checked once, then a product and a sort per image."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Float64, Int64

from reidlab.data.schema import is_distractor
from reidlab.errors import UserError
from reidlab.retrieval.distance_rows import BLOCK_MIB
from reidlab.retrieval.inputs import Problem, as_vectors, problem_of
from reidlab.retrieval.metrics import average_precision
from reidlab.retrieval.reranked import scorer_of
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["Ranked", "Rankings"]

KEPT = 4  # rankings
NOBODY = -2  # code of an identity that no gallery image has

Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class Ranked:
    """The whole ranking of one image, nearest first; what is ignored stands in its place.

    Attributes:
        gallery: rows of the gallery [position].
        right: whether they show the same identity [position]; nothing is where nobody knows whom the image shows.
        ignored: whether they are neither right nor wrong [position].
        rank: among those that are not ignored, from 1; 0 for ignored ones [position].
        value: similarity or distance [position].
        shown: "similarity" or "distance".
        plain: whether it is of the vectors as they are, not re-ranked.
        known: whether the identity of the image is known.
        vector: of the image.
    """

    gallery: Int64[np.ndarray, " position"]
    right: Bool[np.ndarray, " position"]
    ignored: Bool[np.ndarray, " position"]
    rank: Int64[np.ndarray, " position"]
    value: Float64[np.ndarray, " position"]
    shown: str
    plain: bool
    known: bool
    vector: Float[np.ndarray, " dim"]

    @property
    def right_ranks(self) -> Int64[np.ndarray, " match"]:
        """Return the ranks of the right images, the first one first."""
        return self.rank[self.right & ~self.ignored]

    @property
    def n_ignored(self) -> int:
        """Count the images that are neither right nor wrong."""
        return int(self.ignored.sum())

    def ap(self, form: str = "plain") -> float:
        """Return the average precision, NaN where no image is right."""
        return average_precision(self.right_ranks, form) if len(self.right_ranks) else float("nan")

    def sign(self, position: int) -> str:
        """Return "right", "wrong", "ignored", or "" where nobody knows whom the image shows."""
        if self.ignored[position]:
            return "ignored"
        return "" if not self.known else "right" if self.right[position] else "wrong"

    def positions(
        self, k: int, *, show_ignored: bool = True, among: Bool[np.ndarray, " gallery"] | None = None
    ) -> Int64[np.ndarray, " shown"]:
        """Return the first `k` positions.

        Args:
            k: at most so many.
            show_ignored: count ignored images too.
            among: whether a gallery image may be shown, by gallery row; None: all may.
        """
        wanted = np.ones(len(self.gallery), bool) if among is None else among[self.gallery]
        if not show_ignored:
            wanted = wanted & ~self.ignored
        return np.flatnonzero(wanted)[:k]


class Rankings:
    """Rank a gallery for queries, for its own images and for vectors from elsewhere.

    Which images are right, wrong or ignored is decided by `retrieval.inputs.Problem`, and scores come from
    `retrieval.scoring`: a query's list is that of `rank_gallery` to the bit.

    Args:
        query: embeddings of the queries.
        gallery: embeddings of the gallery.
        metric: "cosine" or "euclidean".

    Raises:
        UserError: as `retrieval.evaluate`.
    """

    def __init__(self, query: Embeddings, gallery: Embeddings, metric: str = "cosine") -> None:
        nothing = Labels(None), Labels(None)
        self.problem = problem_of(query, gallery, *nothing, metric=metric, keep_junk=True)
        self.scorer = Scorer(self.problem)
        self._nobody = (self.problem.gallery_codes == -1) | is_distractor(gallery.table).to_numpy()
        self._methods: dict[str, tuple[Problem, Scorer, str]] = {}
        self._kept: OrderedDict[tuple[str, int, str], Ranked] = OrderedDict()

    def of_query(self, row: int, method: str = "") -> Ranked:
        """Return the ranking of a query.

        Args:
            row: of the query.
            method: of re-ranking; computed for all queries at once when it is first asked for. Junk is left out then.

        Raises:
            UserError: an unknown method.
        """
        problem, scorer = (self.problem, self.scorer) if not method else self.reranked(method)[:2]
        return self._keep(("q", row, method), problem, scorer, row)

    def of_gallery(self, row: int) -> Ranked:
        """Return the ranking of a gallery image as a query; of junk and distractors nobody knows whom they show."""
        given, known = self.problem, not self._nobody[row]
        cams, images = given.gallery_cams, given.gallery_images
        alone = self._alone(
            given.gallery[row],
            int(given.gallery_codes[row]) if known else NOBODY,
            None if cams is None else int(cams[row]),
            None if images is None else int(images[row]),
        )
        return self._keep(("g", row, ""), *alone, 0)

    def of_vector(self, vector: npt.ArrayLike) -> Ranked:
        """Return the ranking of a vector [dim] whose identity nobody knows.

        Raises:
            UserError: it has another length than the gallery's, or cannot be ranked.
        """
        checked = as_vectors("the image's embedding", np.atleast_2d(np.asarray(vector)), self.problem.metric)
        if checked.shape != (1, self.problem.gallery.shape[1]):
            raise UserError(
                f"The model gives embeddings of shape {list(checked.shape[1:])} and the gallery has "
                f"{self.problem.gallery.shape[1]} numbers an image: they are of different models."
            )
        return _ranked(*self._alone(checked[0], NOBODY, None, None), 0, plain=True)

    def reranked(self, method: str) -> tuple[Problem, Scorer, str]:
        """Return what ranks by a method of re-ranking, and the method in words; made once."""
        if method not in self._methods:
            without = self.problem.without_junk()
            n_gallery = len(self.problem.gallery)
            scorer, told = scorer_of(without, method, None, n_gallery=n_gallery, block_mib=BLOCK_MIB)
            self._methods[method] = without, scorer, told
        return self._methods[method]

    def is_made(self, method: str) -> bool:
        """Return whether a method of re-ranking needs no more computing."""
        return not method or method in self._methods

    def cosines(self, ranked: Ranked, positions: Int64[np.ndarray, " shown"]) -> Float64[np.ndarray, " shown"]:
        """Return the cosines of an image and those at these positions of its ranking, whatever it was ranked by."""
        if self.problem.metric == "cosine" and ranked.plain:
            return ranked.value[positions]
        others = self.problem.gallery[ranked.gallery[positions]].astype(np.float64)
        own = ranked.vector.astype(np.float64)
        lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(own)
        return np.asarray(np.clip(others @ own / np.where(lengths > 0, lengths, 1), -1, 1))

    def _alone(self, vector: Floats, code: int, cam: int | None, image: int | None) -> tuple[Problem, Scorer]:
        """Return the problem of one image of the given codes, and its scorer; the gallery's part is shared."""
        given = self.problem
        vector = np.asarray(vector, given.gallery.dtype)[None]
        problem = replace(
            given,
            query=vector,
            query_codes=np.array([code]),
            query_cams=None if cam is None else np.array([cam]),
            query_images=None if image is None else np.array([image]),
        )
        scorer = copy.copy(self.scorer)
        scorer.problem, scorer.query_first = problem, np.zeros(1, np.int64)
        scorer.query_squares = np.einsum("ij,ij->i", vector, vector).astype(np.float64)
        return problem, scorer

    def _keep(self, key: tuple[str, int, str], problem: Problem, scorer: Scorer, row: int) -> Ranked:
        found = self._kept.pop(key, None) or _ranked(problem, scorer, row, plain=not key[2])
        self._kept[key] = found
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found


def _ranked(problem: Problem, scorer: Scorer, row: int, *, plain: bool) -> Ranked:
    """Rank the whole gallery; ties stand in gallery order, as everywhere."""
    dots = scorer.multiply(scorer.query_first[row : row + 1])[0]
    scores = scorer.finish(dots, np.empty_like(dots))
    order = np.argsort(-scores, kind="stable")
    code = problem.query_codes[row]
    ignored = problem.is_ignored(row, slice(None))[order]
    distance = scorer.distance(np.full(len(order), row), scores[order])
    return Ranked(
        gallery=problem.gallery_rows[order],
        right=(problem.gallery_codes == code)[order],
        ignored=ignored,
        rank=np.where(ignored, 0, np.cumsum(~ignored)),
        value=np.asarray(1 - distance if scorer.shown == "similarity" else distance, np.float64),
        shown=scorer.shown,
        plain=plain,
        known=bool(code != NOBODY),
        vector=problem.query[row],
    )
