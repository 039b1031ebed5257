"""Take out what cameras do to vectors and to distances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int64

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_choice
from reidlab.retrieval.distance_rows import BLOCK_MIB, Distances
from reidlab.retrieval.inputs import Problem, as_vectors
from reidlab.retrieval.reranking.expansion import unit_problem
from reidlab.retrieval.scoring import Scorer

__all__ = ["CameraNorm", "subtract_camera_means"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


def _cameras(problem: Problem, method: str) -> tuple[Ints, Ints, int]:
    """Return the cameras of query and gallery as numbers from 0, and how many there are."""
    if problem.query_cams is None or problem.gallery_cams is None:
        raise UserError(f"{method} needs to know cameras: query_camids and gallery_camids, or a table with camid.")
    together = np.concatenate([problem.query_cams, problem.gallery_cams])
    names, numbers = np.unique(together, return_inverse=True)
    return numbers[: len(problem.query)], numbers[len(problem.query) :], len(names)


def subtract_camera_means(problem: Problem, *, block_mib: float = BLOCK_MIB) -> Problem:
    """Move the mean vector of every camera to the mean of all images, so that no camera stands apart.

    Vectors are brought to length 1 before. With a single camera nothing changes.

    Args:
        problem: query and gallery, without junk, with cameras.
        block_mib: not used here.

    Raises:
        UserError: no cameras, or a vector that is or becomes zero.
    """
    query_cams, gallery_cams, count = _cameras(problem, "camera_mean")
    problem = unit_problem(problem)
    vectors, cams = np.concatenate([problem.query, problem.gallery]), np.concatenate([query_cams, gallery_cams])
    sums = np.zeros((count, vectors.shape[1]))
    np.add.at(sums, cams, vectors)
    shift = sums.sum(axis=0) / len(vectors) - sums / np.bincount(cams, minlength=count)[:, None]
    changed, n_query = (vectors + shift[cams]).astype(vectors.dtype), len(problem.query)
    return replace(
        problem,
        query=as_vectors("query without camera means:", changed[:n_query], problem.metric),
        gallery=as_vectors("gallery without camera means:", changed[n_query:], problem.metric),
    )


class CameraNorm(Distances):
    """Plain distances, less the mean and divided by the standard deviation of those between the two cameras.

    Images of one camera look alike whoever they show, so that a gallery image of the query's own camera, or of one like
    it, is near for no good reason. No identity is used.

    Args:
        problem: query and gallery, without junk, with cameras.
        block_mib: memory for distances.
        over: "pair" takes mean and deviation of all queries of a camera and all gallery images of a camera; "query" of
            each query alone and all gallery images of a camera.

    Raises:
        UserError: no cameras, or another word for `over`.
    """

    def __init__(
        self, problem: Problem, *, block_mib: float = BLOCK_MIB, over: Literal["pair", "query"] = "pair"
    ) -> None:
        check_choice("over", over, ("pair", "query"))
        query_cams, self.cams, count = _cameras(problem, "camera_norm")
        self.scorer = Scorer(problem)
        self.shape, self.dtype = (len(problem.query), len(problem.gallery)), np.dtype(np.float64)
        n_images = np.bincount(self.cams, minlength=count)
        total, squares = self._sums(count, block_mib)
        if over == "pair":
            group = np.arange(count) == query_cams[:, None]  # [query, camera]
            n_queries = group.sum(axis=0)[query_cams, None]
            total, squares = ((group.T @ each)[query_cams] / n_queries for each in (total, squares))
        self.mean = total / np.maximum(n_images, 1)
        variance = squares / np.maximum(n_images, 1) - self.mean**2
        alike = variance <= 1e-12 * np.maximum(self.mean**2, 1)  # a single image, or equal ones: no deviation to see
        self.deviation = np.sqrt(np.where(alike, 1, variance))

    def rows(self, queries: Int64[np.ndarray, " row"]) -> Float[np.ndarray, "row gallery"]:
        """Return the distances of queries, given by their rows, to the whole gallery; they may be negative."""
        found = self.scorer.table(queries)
        found -= self.mean[queries][:, self.cams]
        found /= self.deviation[queries][:, self.cams]
        return found

    def _sums(self, count: int, block_mib: float) -> tuple[Floats, Floats]:
        """Add up distances and their squares by the gallery images' cameras: [query, camera] each."""
        member = (self.cams[:, None] == np.arange(count)).astype(np.float64)
        total, squares = np.zeros((self.shape[0], count)), np.zeros((self.shape[0], count))
        step = max(1, int(block_mib * 2**20 / (24 * self.shape[1])))
        for begin in range(0, self.shape[0], step):
            part = np.arange(begin, min(begin + step, self.shape[0]))
            values = self.scorer.table(part)
            total[part] = values @ member
            squares[part] = np.square(values, out=values) @ member
        return total, squares
