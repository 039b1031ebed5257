"""Put in the place of a vector the mean of its neighbours' vectors: query expansion, database augmentation, NFC."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reidlab.retrieval.checks import check_choice, check_real, check_whole
from reidlab.retrieval.distance_rows import BLOCK_MIB
from reidlab.retrieval.inputs import Problem, as_vectors
from reidlab.retrieval.reranking.neighbours import nearest_in_gallery, nearest_neighbours, unit
from reidlab.retrieval.scoring import Scorer

__all__ = ["augment_gallery", "centralize", "expand", "unit_problem"]

MOST = 10_000  # neighbours
STEEPEST = 100.0

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


def unit_problem(problem: Problem) -> Problem:
    """Return the problem with vectors of length 1.

    Raises:
        UserError: a vector of zeros.
    """
    query, gallery = as_vectors("query", problem.query, "cosine"), as_vectors("gallery", problem.gallery, "cosine")
    return replace(problem, query=unit(query), gallery=unit(gallery))


def expand(
    problem: Problem,
    *,
    block_mib: float = BLOCK_MIB,
    k: int = 10,
    alpha: float = 3.0,
    of: Literal["all", "query"] = "all",
) -> Problem:
    """Put in the place of each image the mean of its nearest images, weighted by cosine ** alpha.

    alpha 0 is average query expansion (Chum et al., ICCV 2007), others are alpha-QE (Radenović et al., TPAMI 2019). As
    in fast-reid, gallery images are expanded too, and neighbours may be queries. Negative cosines count as 0. The
    vectors that come out have length 1.

    Args:
        problem: query and gallery, without junk.
        block_mib: memory for scores.
        k: images in a mean, the image itself among them; 1 changes nothing.
        alpha: power of the cosine, from 0 to 100.
        of: "all" expands every image by all others; "query" expands the queries alone, by gallery images.

    Raises:
        UserError: an option out of its range, or a vector of zeros.
    """
    k, alpha = check_whole("k", k, 1, MOST), check_real("alpha", alpha, 0, STEEPEST)
    check_choice("of", of, ("all", "query"))
    problem = unit_problem(problem)
    n_query = len(problem.query)
    if of == "all":
        changed = _expanded(np.concatenate([problem.query, problem.gallery]), k, alpha, block_mib)
        return replace(problem, query=changed[:n_query], gallery=changed[n_query:])
    if k == 1:
        return problem
    scorer = Scorer(replace(problem, metric="cosine"))
    index, cosine = nearest_in_gallery(scorer, k - 1, block_mib=block_mib)
    total = problem.query + _weighted(problem.gallery, index, _weights(cosine, alpha))
    return replace(problem, query=_unit_or(total, problem.query))


def augment_gallery(problem: Problem, *, block_mib: float = BLOCK_MIB, k: int = 10, alpha: float = 3.0) -> Problem:
    """Put in the place of each gallery image the mean of its nearest gallery images, weighted by cosine ** alpha.

    Database-side augmentation (Arandjelović and Zisserman, CVPR 2012). It needs no query, so that it can be done once.
    The vectors that come out have length 1.

    Args:
        problem: query and gallery, without junk.
        block_mib: memory for scores.
        k: images in a mean, the image itself among them; 1 changes nothing.
        alpha: power of the cosine, from 0 (all weights are 1) to 100.

    Raises:
        UserError: an option out of its range, or a vector of zeros.
    """
    k, alpha = check_whole("k", k, 1, MOST), check_real("alpha", alpha, 0, STEEPEST)
    problem = unit_problem(problem)
    return replace(problem, gallery=_expanded(problem.gallery, k, alpha, block_mib))


def centralize(problem: Problem, *, block_mib: float = BLOCK_MIB, k1: int = 2, k2: int = 2) -> Problem:
    """Add to each image those of its nearest images that have it among their own nearest.

    Neighbour feature centralization, NFC (Yuan et al., Pose2ID, CVPR 2025). Neighbours are sought among all query and
    gallery images. The vectors that come out have length 1.

    Args:
        problem: query and gallery, without junk.
        block_mib: memory for scores.
        k1: nearest images of each image that may be added, itself not counted.
        k2: an image is added where the other one is among this many that are nearest to it.

    Raises:
        UserError: an option out of its range, or a vector of zeros.
    """
    k1, k2 = check_whole("k1", k1, 1, MOST), check_whole("k2", k2, 1, MOST)
    problem = unit_problem(problem)
    vectors, n_query = np.concatenate([problem.query, problem.gallery]), len(problem.query)
    if len(vectors) == 1:
        return problem
    index = nearest_neighbours(vectors, max(k1, k2) + 1, block_mib=block_mib).index
    others = _without_self(index)
    forward, backward = (_matrix(others[:, :k], np.ones_like(others[:, :k], vectors.dtype)) for k in (k1, k2))
    changed = _unit_or(vectors + forward.multiply(backward.T) @ vectors, vectors)
    return replace(problem, query=changed[:n_query], gallery=changed[n_query:])


def _expanded(vectors: Floats, k: int, alpha: float, block_mib: float) -> Floats:
    found = nearest_neighbours(vectors, k, block_mib=block_mib)
    return _unit_or(_weighted(vectors, found.index, _weights(1 - found.square / 2, alpha)), vectors)


def _weights(cosine: Floats, alpha: float) -> Floats:
    return np.asarray(np.clip(cosine, 0, 1) ** alpha, cosine.dtype)


def _weighted(vectors: Floats, index: Ints, weights: Floats) -> Floats:
    """Add up the vectors [image, dim] of each row's images, of `index` and with `weights` [row, rank]: [row, dim]."""
    found: Floats = _matrix(index, weights, len(vectors)) @ vectors
    return found


def _matrix(index: Ints, values: Floats, width: int | None = None) -> Any:
    """Return a sparse matrix of `values` in the columns `index`, [row, width]."""
    from scipy.sparse import csr_array

    begins = np.arange(len(index) + 1) * index.shape[1]
    return csr_array((values.ravel(), index.ravel(), begins), shape=(len(index), width or len(index)))


def _without_self(index: Ints) -> Ints:
    """Leave each image out of its own list; the last one where it is not there, for so many images equal it."""
    own = index == np.arange(len(index))[:, None]
    own[~own.any(axis=1), -1] = True
    return index[~own].reshape(len(index), -1)


def _unit_or(changed: Floats, own: Floats) -> Floats:
    """Bring vectors to length 1; where they cancelled each other out, the image keeps its own."""
    none = np.einsum("ij,ij->i", changed, changed) < np.finfo(changed.dtype).eps
    changed[none] = own[none]
    return unit(changed)
