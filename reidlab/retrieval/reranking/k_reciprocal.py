"""Re-rank by k-reciprocal neighbours, in sparse matrices (Zhong, Zheng, Cao and Li, CVPR 2017).

Of N query and gallery images, the published code holds several matrices [N, N]. Here a row has the weights that are not
zero, some 100 of them, and the part of the plain distance is made for the queries that are asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int64

from reidlab.retrieval.checks import check_choice, check_real, check_whole
from reidlab.retrieval.counting import LARGE
from reidlab.retrieval.distance_rows import BLOCK_MIB, Distances
from reidlab.retrieval.inputs import Problem, as_vectors
from reidlab.retrieval.reranking.neighbours import Neighbours, nearest_neighbours, unit
from reidlab.retrieval.reranking.overlap import compiled_mixer, mix_with_numpy
from reidlab.retrieval.scoring import ROWS, Scorer

__all__ = ["MOST", "KReciprocal", "encoding"]

MOST = 10_000  # neighbours
INPUTS = ("euclidean", "cosine")
PAIRS = 4096  # images that are multiplied at a time

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]
Sparse = Any  # scipy.sparse has no types of its own


class KReciprocal(Distances):
    """Distances that mix the Jaccard distance of k-reciprocal neighbours with the plain one.

    With N(i, k) the k + 1 nearest of all query and gallery images (i itself included), R(i, k) are those of N(i, k)
    that have i among their own k + 1 nearest. R(i, k1) is joined by R(j, k1 / 2) of its members j where more than two
    thirds of these are in it already. Each member has a weight exp(-d), and those of the k2 nearest images are
    averaged. The result is (1 - lambda_value) * Jaccard distance of the weights + lambda_value * d. Here d is the
    *square* of the distance, divided by the largest of the image's row: so Euclidean distances and cosine ones give
    different results, and published figures are for Euclidean distances of vectors of length 1.

    Queries are among each other's neighbours: what a query finds depends on the other queries.

    Args:
        problem: query and gallery, without junk.
        block_mib: memory for scores.
        k1: neighbours that have to be mutual.
        k2: neighbours whose weights are averaged; 1 for none but the image's own.
        lambda_value: the plain distance's share, from 0 to 1.
        distance: "euclidean" or "cosine" (1 - cosine).
        normalize: bring vectors to length 1 before; cosine does so always.
        top: re-rank the nearest `top` gallery images of each query alone (and any as near as the last): the others
            follow in their order. Images that are near no query are left out of the neighbours; None for all.

    Raises:
        UserError: an option out of its range, or a vector without a direction.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        block_mib: float = BLOCK_MIB,
        k1: int = 20,
        k2: int = 6,
        lambda_value: float = 0.3,
        distance: Literal["euclidean", "cosine"] = "euclidean",
        normalize: bool = True,
        top: int | None = None,
    ) -> None:
        k1, k2 = check_whole("k1", k1, 1, MOST), check_whole("k2", k2, 1, MOST)
        self.share = check_real("lambda_value", lambda_value, 0, 1)
        self.top = None if top is None else check_whole("top", top, 1, 2**31)
        # d is divided by its largest, so that 1 - cosine, half the squared Euclidean distance, is its square
        self.power = 2 if check_choice("distance", distance, INPUTS) == "cosine" else 1
        query, gallery = problem.query, problem.gallery
        if normalize or self.power == 2:
            query, gallery = (unit(as_vectors(*side, "cosine")) for side in (("query", query), ("gallery", gallery)))
        self.scorer = Scorer(replace(problem, query=query, gallery=gallery, metric="euclidean"))
        self.shape, self.dtype = (len(query), len(gallery)), query.dtype
        self.dots: Floats | None = None
        self.columns = self._near_any(block_mib)
        vectors = np.concatenate([query, gallery if self.columns is None else gallery[self.columns]])
        keep = len(query) if self.columns is None else 0
        found = nearest_neighbours(vectors, max(k1 + 1, k2), block_mib=block_mib, farthest=True, keep=keep)
        weights = encoding(vectors, found, k1=k1, k2=k2, power=self.power)
        self.farthest, self.dots = _divisors(found)[: len(query)], found.dots
        self.of_queries, lists = weights[: len(query)], weights[len(query) :].tocsc()
        images = lists.indices if self.columns is None else self.columns.astype(lists.indices.dtype)[lists.indices]
        self.lists = lists.indptr, images, lists.data  # of each image: the gallery images that have a weight of it
        self.mix = (compiled_mixer() if len(query) * len(gallery) >= LARGE else None) or mix_with_numpy

    def rows(self, queries: Int64[np.ndarray, " row"]) -> Float[np.ndarray, "row gallery"]:
        """Return the distances of queries, given by their rows, to the whole gallery."""
        found = self._plain(queries, self.farthest[queries])
        part = self.of_queries[queries]
        limit = np.full(len(queries), np.inf, self.dtype)
        if self.top is not None and self.top < self.shape[1]:
            limit = self._limits(found)
        self.mix(found, limit, self.share, part.indptr, part.indices, part.data, *self.lists)
        return found

    def _plain(self, queries: Ints, farthest: Floats) -> Floats:
        """Return plain distances [query, gallery], divided by the farthest of each query."""
        found = np.empty((len(queries), self.shape[1]), self.dtype)
        for begin in range(0, len(queries), ROWS):
            few = queries[begin : begin + ROWS]
            square = found[begin : begin + ROWS]
            dots = self.scorer.tiled(few, square) if self.dots is None else self.dots[few]
            self.scorer.finish(dots, square)
            square *= -2
            square += self.scorer.query_squares[few, None].astype(self.dtype)
            np.maximum(square, 0, out=square)
            square /= farthest[begin : begin + ROWS, None]
            if self.power == 2:
                square *= square
        return found

    def _limits(self, plain: Floats) -> Floats:
        """Return how far the last image is that is re-ranked [query]."""
        assert self.top is not None
        return np.partition(plain, self.top - 1, axis=1)[:, self.top - 1]

    def _near_any(self, block_mib: float) -> Ints | None:
        """Return the gallery images that are re-ranked for any query, or None for all."""
        if self.top is None or self.top >= self.shape[1]:
            return None
        near = np.zeros(self.shape[1], bool)
        step = max(1, int(block_mib * 2**20 / (4 * self.shape[1] * self.dtype.itemsize)))
        for begin in range(0, self.shape[0], step):
            queries = np.arange(begin, min(begin + step, self.shape[0]))
            plain = self._plain(queries, np.ones(len(queries), self.dtype))
            near |= (plain <= self._limits(plain)[:, None]).any(axis=0)
        return None if near.all() else np.flatnonzero(near)


def encoding(vectors: Float[np.ndarray, "image dim"], found: Neighbours, *, k1: int, k2: int, power: int = 1) -> Sparse:
    """Return each image's weights of other images, sparse [image, image]; a row adds up to 1.

    Args:
        vectors: all images.
        found: their neighbours, at least k1 + 1 and k2 of each, and the farthest.
        k1: as in `KReciprocal`.
        k2: likewise.
        power: of the divided squared distance.
    """
    members = _expanded(found.index, k1)
    image = np.repeat(np.arange(len(vectors)), np.diff(members.indptr))
    square = _squares(vectors, found, image, members.indices)
    weights = np.exp(-((square / _divisors(found)[image]) ** power))
    weights /= np.bincount(image, weights, minlength=len(vectors))[image].astype(weights.dtype)
    members = _sparse(members.indices, members.indptr, weights)
    return members if k2 == 1 else _nearest(found.index, k2, vectors.dtype) @ members


def _squares(vectors: Floats, found: Neighbours, image: Ints, other: Ints) -> Floats:
    """Return squared distances of pairs of images: those of neighbours are known, few others are computed."""
    count = len(vectors)
    keys = (np.arange(count)[:, None] * count + found.index).ravel()
    order = np.argsort(keys)
    wanted = image * count + other
    at = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    known = keys[at] == wanted
    square = found.square.ravel()[at]
    missing = np.flatnonzero(~known)
    half = np.einsum("ij,ij->i", vectors, vectors) / 2
    for begin in range(0, len(missing), PAIRS):
        part = missing[begin : begin + PAIRS]
        i, j = image[part], other[part]
        square[part] = 2 * (half[i] + half[j] - np.einsum("ij,ij->i", vectors[i], vectors[j]))
    return np.maximum(square, 0)


def _divisors(found: Neighbours) -> Floats:
    """Return what squared distances are divided by [image]: the largest, or 1 where all images are equal."""
    return np.where(found.farthest > 0, found.farthest, 1).astype(found.farthest.dtype)


def _expanded(index: Ints, k1: int) -> Sparse:
    """Return the k-reciprocal neighbours of each image with those of its members that agree [image, image]."""
    mutual, of_members = _mutual(index, k1 + 1), _mutual(index, round(k1 / 2) + 1)  # halves go to the even number
    common = (mutual @ of_members.T).multiply(mutual).tocsr()  # of R(i, k1) and R(j, k1 / 2), for j in R(i, k1)
    sizes = np.diff(of_members.indptr)
    agrees = common.data > 2.0 / 3 * sizes[common.indices]
    common.data = agrees.astype(common.dtype)
    common.eliminate_zeros()
    found = (mutual + common @ of_members).tocsr()
    found.sort_indices()
    return found


def _mutual(index: Ints, k: int) -> Sparse:
    """Return which of the first `k` neighbours have the image among their own [image, image]."""
    nearest = _nearest(index, k, np.int32, share=False)
    return nearest.multiply(nearest.T).tocsr()


def _nearest(index: Ints, k: int, dtype: Any, *, share: bool = True) -> Sparse:
    """Return the first `k` neighbours of each image [image, image]: 1 / k each, or 1."""
    part = index[:, :k]
    values = np.full(part.size, 1 / part.shape[1] if share else 1, dtype)
    return _sparse(part.flatten(), np.arange(len(part) + 1) * part.shape[1], values)


def _sparse(columns: Ints, begins: Ints, values: Floats) -> Sparse:
    from scipy.sparse import csr_array

    found = csr_array((values, columns, begins), shape=(len(begins) - 1,) * 2)
    found.sort_indices()
    return found
