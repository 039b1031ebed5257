"""Find the nearest neighbours of every image among all images, in blocks and on several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int64

from reidlab.retrieval.blas import one_blas_thread
from reidlab.retrieval.counting import LARGE
from reidlab.retrieval.equal import first_equal
from reidlab.retrieval.ranking import n_threads
from reidlab.retrieval.reranking.all_pairs import MOST, compiled_keeper, nearest_of_pairs
from reidlab.retrieval.scoring import Scorer

__all__ = ["Neighbours", "nearest_in_gallery", "nearest_neighbours", "unit"]

PAIRS = 2**20  # of images, that are listed and sorted at a time
SHARES = 16  # a row is cut into so many shares a neighbour
ROOM = 2.0  # what a block takes beside its scores: differences, masks, what is found

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class Neighbours:
    """The images nearest to each image, itself among them; equal distances stand in the order of the images.

    `square` are squared Euclidean distances, `farthest` is the squared distance of the farthest of all images. `dots`
    are the dot products of the first images with all others, where they were kept.
    """

    index: Int64[np.ndarray, "image rank"]
    square: Float[np.ndarray, "image rank"]
    farthest: Float[np.ndarray, " image"]
    dots: Float[np.ndarray, "first other"] | None = None


def unit(vectors: Float[np.ndarray, "image dim"]) -> Float[np.ndarray, "image dim"]:
    """Return vectors of length 1, in their own precision."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    scaled: Floats = (vectors / lengths[:, None]).astype(vectors.dtype)
    return scaled


def nearest_neighbours(
    vectors: Float[np.ndarray, "image dim"], k: int, *, block_mib: float, farthest: bool = False, keep: int = 0
) -> Neighbours:
    """Return the `k` nearest of all images for each image (all of them where there are fewer), by Euclidean distance.

    Equal vectors have equal distances to everything, and 0 to each other, on every machine: each is compared once.
    Many images are compared by half of the products (`all_pairs`).

    Args:
        vectors: finite floats.
        k: how many, the image itself included; 1 or more.
        block_mib: memory for scores, over all threads.
        farthest: look for the farthest image too; else that is 0 for all.
        keep: so many images' products with those after them are kept, if all vectors differ, there are many, and half
            of `block_mib` has room; 0 keeps none.
    """
    k = min(k, len(vectors))
    first = first_equal(vectors)
    rows, of_row = np.unique(first, return_inverse=True)
    if len(rows) == len(vectors):
        return _search(vectors, k, None, block_mib, farthest, keep)
    found = _search(vectors[rows], k, _Copies(of_row, k), block_mib, farthest, 0)
    return Neighbours(found.index[of_row], found.square[of_row], found.farthest[of_row])


def _search(held: Floats, k: int, copies: _Copies | None, block_mib: float, farthest: bool, keep: int) -> Neighbours:
    """Return the neighbours of vectors that all differ, by the quicker of two ways."""
    threads = min(n_threads(), len(held))
    keeper = compiled_keeper() if len(held) ** 2 >= LARGE and k <= MOST else None
    if keeper is not None:
        dots, room = None, keep * (len(held) - keep) * held.itemsize / 2**20
        if 0 < room <= block_mib / 2:
            dots = np.empty((keep, len(held) - keep), held.dtype)
            block_mib /= 2
        count = min(k, len(held))
        index, square, far = nearest_of_pairs(keeper, held, count, threads=threads, block_mib=block_mib, dots=dots)
        if copies is not None:
            index, square = copies.listed(index, square, k)
        return Neighbours(index, square, far if farthest else np.zeros_like(far), dots)
    half = np.einsum("ij,ij->i", held, held) / 2
    step = max(1, int(block_mib * 2**20 / (threads * ROOM * len(held) * held.itemsize)))
    # BLAS threads would go on spinning while the others search
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        begins = range(0, len(held), step)
        parts = list(pool.map(lambda begin: _block(held, half, begin, step, k, copies, farthest), begins))
    return Neighbours(*(np.concatenate(part) for part in zip(*parts)))


class _Copies:
    """The images that share a vector, at most `most` of each: more are never listed."""

    def __init__(self, of_row: Ints, most: int) -> None:
        self.order = np.argsort(of_row, kind="stable")
        counts = np.bincount(of_row)
        self.begin, self.counts = np.cumsum(counts) - counts, np.minimum(counts, most)

    def spread(self, row: Ints, column: Ints, square: Floats) -> tuple[Ints, Ints, Floats]:
        """Put in the place of each column its images."""
        counts = self.counts[column]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        images = self.order[np.repeat(self.begin[column], counts) + within]
        return np.repeat(row, counts), images, np.repeat(square, counts)

    def listed(self, index: Ints, square: Floats, k: int) -> tuple[Ints, Floats]:
        """Put in the place of each row's neighbours [row, rank] their images, and keep the nearest `k`."""
        step = max(1, PAIRS // (index.shape[1] * int(self.counts.max())))
        parts = []
        for begin in range(0, len(index), step):
            part = index[begin : begin + step]
            row = np.repeat(np.arange(len(part)), part.shape[1])
            pairs = self.spread(row, part.ravel(), square[begin : begin + step].ravel())
            parts.append(_nearest_of(len(part), *pairs, k))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _block(
    held: Floats, half: Floats, begin: int, step: int, k: int, copies: _Copies | None, farthest: bool
) -> tuple[Ints, Floats, Floats]:
    """Search for a block of rows: index and squared distance of the nearest [row, k], of the farthest [row]."""
    part = slice(begin, begin + step)
    scores = held[part] @ held.T
    scores -= half  # larger is closer; a squared distance is 2 * (half of the row - score)
    count = len(scores)
    own = np.arange(count)
    scores[own, own + begin] = half[part]
    far = 2 * (half[part] - scores.min(axis=1)) if farthest else np.zeros(count, held.dtype)
    row, column = _largest(scores, min(k, len(held)))
    square = np.maximum(2 * (half[part][row] - scores[row, column]), 0)
    if copies is not None:
        row, column, square = copies.spread(row, column, square)
    return *_nearest_of(count, row, column, square, k), np.maximum(far, 0)


def _nearest_of(count: int, row: Ints, column: Ints, square: Floats, k: int) -> tuple[Ints, Floats]:
    """Return the `k` nearest columns of each of `count` rows and their squared distances, of pairs in any order."""
    order = np.lexsort((column, square, row))
    at = np.searchsorted(row[order], np.arange(count))[:, None] + np.arange(k)
    return column[order[at]], square[order[at]]


def _largest(scores: Floats, k: int) -> tuple[Ints, Ints]:
    """Return rows and columns of the `k` largest values of each row, all that tie with the last, and few others.

    The k-th of the largest values of many shares of a row is a limit that at least k values reach. It takes one reading
    of all values, and another one of the few shares with such a value.
    """
    n_shares = SHARES * k
    length = scores.shape[1] // n_shares
    if length < 2:
        limits = np.partition(scores, scores.shape[1] - k, axis=1)[:, -k]
        row, column = np.nonzero(scores >= limits[:, None])
        return row, column
    cut = length * n_shares
    shares = scores[:, :cut].reshape(len(scores), length, n_shares)  # every n-th column: neighbours may be kin
    tops = shares.max(axis=1)
    limits = np.partition(tops, n_shares - k, axis=1)[:, -k]
    row, share = np.nonzero(tops >= limits[:, None])
    pair, at = np.nonzero(shares[row, :, share] >= limits[row, None])
    last, column = np.nonzero(scores[:, cut:] >= limits[:, None])
    return np.append(row[pair], last), np.append(at * n_shares + share[pair], column + cut)


def nearest_in_gallery(scorer: Scorer, k: int, *, block_mib: float) -> tuple[Ints, Floats]:
    """Return the nearest `k` gallery images of each query and their scores, [query, rank]; ties in gallery order."""
    n_query, n_gallery = len(scorer.problem.query), len(scorer.problem.gallery)
    k = min(k, n_gallery)
    step = max(1, int(block_mib * 2**20 / (ROOM * n_gallery * scorer.dtype.itemsize)))
    index, found = np.empty((n_query, k), np.int64), np.empty((n_query, k), scorer.dtype)
    for begin in range(0, n_query, step):
        part = np.arange(begin, min(begin + step, n_query))
        dots = scorer.multiply(part)
        scores = scorer.finish(dots, dots)
        row, column = _largest(scores, k)
        score = scores[row, column]
        order = np.lexsort((column, -score, row))
        at = order[np.searchsorted(row[order], np.arange(len(part)))[:, None] + np.arange(k)]
        index[part], found[part] = column[at], score[at]
    return index, found
