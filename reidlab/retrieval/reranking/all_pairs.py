"""Find the nearest of all images for each image from half of the products: i is as far from j as j is from i.

Images are cut into blocks, and each pair of blocks is multiplied once. What comes out is read once, while it is in the
cache, by a compiled loop that keeps the nearest found so far of both blocks' images. numba compiles it at the first
large search (some seconds, kept on disk for later processes).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.retrieval.blas import one_blas_thread

__all__ = ["MOST", "Keeper", "compiled_keeper", "nearest_of_pairs"]

BLOCK = 512  # images multiplied at a time: the products stay in the second-level cache
LANES = 64
MOST = 256  # neighbours; more of them are found faster by partial sorting

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]
Keeper = Callable[..., None]


def _put(square: npt.NDArray[Any], index: npt.NDArray[np.int64], value: Any, image: int) -> None:
    """Put an image into a heap [rank] in the place of the worst, its first entry, if it is better than that.

    Worse is what is farther, and of equally far images the later one.
    """
    if value > square[0] or (value == square[0] and image > index[0]):
        return
    place, last = 0, len(square) - 1
    while 2 * place + 1 <= last:  # the worse of two moves up until the new one has its place
        child = 2 * place + 1
        other = child + 1
        if child < last and (
            square[other] > square[child] or (square[other] == square[child] and index[other] > index[child])
        ):
            child = other
        if square[child] < value or (square[child] == value and index[child] < image):
            break
        square[place], index[place] = square[child], index[child]
        place = child
    square[place], index[place] = value, image


def _keep_nearest(
    dots: npt.NDArray[Any],
    half: npt.NDArray[Any],
    top: int,
    left: int,
    square: npt.NDArray[Any],
    index: npt.NDArray[np.int64],
    far: npt.NDArray[Any],
) -> None:
    """Keep what is nearest of the distances between two blocks, or within one, for the images of both.

    Args:
        dots: dot products [image of the first block, image of the second].
        half: half the squared length [image].
        top: where the first block begins among all images.
        left: where the second begins; the same as `top` for a block with itself, of which one triangle is read.
        square: kept, half the squared distance [image, rank], a heap each (see `_put`).
        index: kept, the images at that distance [image, rank].
        far: kept, the largest of all half squared distances [image].
    """
    rows, columns = dots.shape
    line, lanes = np.empty(columns, dots.dtype), np.empty(LANES, dots.dtype)
    near = np.zeros((columns + 7) // 8 * 8, np.uint8)
    eights = near.view(np.uint64)
    limit = square[left : left + columns, 0].copy()
    for row in range(rows):
        image, begin = top + row, row + 1 if top == left else 0
        own, mine = square[image, 0], half[image]
        # loops from 0 over few arrays each: others are not turned into vectors
        values, theirs, products = line[begin:], half[left + begin : left + columns], dots[row, begin:]
        for at in range(len(values)):
            values[at] = (mine + theirs[at]) - products[at]
        most = far[left + begin : left + columns]
        for at in range(len(values)):
            most[at] = values[at] if values[at] > most[at] else most[at]
        lanes[:] = far[image]  # a single running maximum is not turned into vectors either
        for first in range(0, len(values), LANES):
            few = values[first : first + LANES]
            for at in range(len(few)):
                lanes[at] = few[at] if few[at] > lanes[at] else lanes[at]
        far[image] = lanes.max()
        near[:begin] = 0
        marks, limits = near[begin:], limit[begin:]
        for at in range(len(values)):
            marks[at] = (values[at] <= own) | (values[at] <= limits[at])
        for eight in range(begin // 8, len(eights)):
            if eights[eight] == 0:
                continue
            for at in range(eight * 8, min(eight * 8 + 8, columns)):
                if near[at]:
                    value = max(line[at], dots.dtype.type(0))
                    _put(square[image], index[image], value, left + at)
                    _put(square[left + at], index[left + at], value, image)
                    limit[at] = square[left + at, 0]


@functools.cache
def compiled_keeper() -> Keeper | None:
    """Compile `_keep_nearest`, or give None where numba is not there or cannot compile."""
    try:
        import numba.extending

        numba.extending.register_jitable(_put)
        # no distance is NaN; sums keep their order, so that both images get the same distance
        keeper: Keeper = numba.njit(nogil=True, cache=True, fastmath={"nsz", "nnan"})(_keep_nearest)
        for kind in (np.float32, np.float64):
            keeper(np.zeros((1, 1), kind), np.zeros(1, kind), 0, 0, np.zeros((1, 1), kind), np.zeros((1, 1), np.int64),
                   np.zeros(1, kind))  # fmt: skip
    except Exception:  # of many kinds: no numba, no cache folder, a processor that LLVM does not know
        return None
    return keeper


def nearest_of_pairs(
    keeper: Keeper, vectors: Floats, k: int, *, threads: int, block_mib: float, dots: Floats | None = None
) -> tuple[Ints, Floats, Floats]:
    """Return the `k` nearest images [image, rank], their squared distances, and the largest squared distance [image].

    Equally distant images stand in their order. An image is at distance 0 of itself.

    Args:
        keeper: `_keep_nearest`, compiled.
        vectors: [image, dim], no two of them equal.
        k: how many, at most as many as there are images.
        threads: how many work.
        block_mib: memory for products, over all threads.
        dots: written, where given: the products of the first images with the others [image, other].
    """
    count = len(vectors)
    step = min(BLOCK, count, max(1, int((block_mib * 2**20 / (threads * vectors.itemsize)) ** 0.5)))
    half = np.einsum("ij,ij->i", vectors, vectors) / 2
    square, index = np.full((count, k), np.inf, vectors.dtype), np.full((count, k), count, np.int64)
    square[:, -1], index[:, -1] = 0, np.arange(count)  # itself; the end of a heap may hold any value
    far = np.zeros(count, vectors.dtype)
    begins = range(0, count, step)
    pairs, locks = _pairs(len(begins)), [Lock() for _ in begins]
    first = 0 if dots is None else len(dots)

    def work(_: int) -> None:
        room = np.empty((step, step), vectors.dtype)
        for one, two in pairs:  # whichever thread is free takes the next
            top, left = begins[one], begins[two]
            part, other = vectors[top : top + step], vectors[left : left + step]
            found = np.matmul(part, other.T, out=room[: len(part), : len(other)])
            if dots is not None and top < first < left + len(other):
                begin = max(left, first)
                dots[top : top + step, begin - first : left + len(other) - first] = found[: first - top, begin - left :]
            with locks[one]:
                if one == two:
                    keeper(found, half, top, left, square, index, far)
                    continue
                with locks[two]:
                    keeper(found, half, top, left, square, index, far)

    # Each thread multiplies and reads its own blocks: BLAS threads would go on spinning while the others read
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    order = np.lexsort((index, square))
    index, square = np.take_along_axis(index, order, 1), np.take_along_axis(square, order, 1)
    return index, 2 * square, 2 * far


def _pairs(blocks: int) -> Iterator[tuple[int, int]]:
    """Give all pairs of blocks: first each with itself, where kin often stand; then so that few in a row share one."""
    pairs = [(one, two) for one in range(blocks) for two in range(one + 1, blocks)]
    pairs.sort(key=lambda pair: (sum(pair) % blocks, pair))
    return iter([(block, block) for block in range(blocks)] + pairs)
