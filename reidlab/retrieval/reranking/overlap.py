"""Mix the Jaccard distances of sparse weights with plain distances, compiled.

numba compiles it at the first large re-ranking (about a second, kept on disk for later processes). Without it, or for
few images, `mix_with_numpy` does the same, to the bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Mixer", "compiled_mixer", "mix_with_numpy"]

FEW = 16  # queries that NumPy looks at together: what is found stays in the cache

Mixer = Callable[..., None]


def _mix(
    plain: npt.NDArray[Any],
    limit: npt.NDArray[Any],
    share: float,
    begins: npt.NDArray[Any],
    images: npt.NDArray[Any],
    weights: npt.NDArray[Any],
    list_begins: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    column_weights: npt.NDArray[Any],
) -> None:
    """Turn plain distances into (1 - share) * Jaccard distance + share * plain distance.

    The weights of an image add up to 1, so that the Jaccard distance of two is 1 - s / (2 - s), where s is the sum of
    the smaller of their weights.

    Args:
        plain: distances [query, gallery]; overwritten.
        limit: a gallery image that is farther has Jaccard distance 1, whatever it shares [query].
        share: of the plain distance.
        begins: the weights of query q are `begins[q]` to `begins[q + 1]` of the next two [query + 1].
        images: which image a weight is of.
        weights: of these images.
        list_begins: the gallery images that have a weight of image i are `list_begins[i]` to `list_begins[i + 1]` of
            the next two [image + 1].
        columns: these gallery images.
        column_weights: their weights of the image.
    """
    shared = np.empty(plain.shape[1])
    for query in range(len(plain)):
        shared[:] = 0
        for entry in range(begins[query], begins[query + 1]):
            image, weight = images[entry], weights[entry]
            for at in range(list_begins[image], list_begins[image + 1]):
                shared[columns[at]] += min(weight, column_weights[at])
        line, most = plain[query], limit[query]
        for at in range(len(line)):
            both = shared[at] if line[at] <= most else 0.0
            line[at] = (1 - share) * (1 - both / (2 - both)) + share * line[at]


def mix_with_numpy(
    plain: npt.NDArray[Any],
    limit: npt.NDArray[Any],
    share: float,
    begins: npt.NDArray[Any],
    images: npt.NDArray[Any],
    weights: npt.NDArray[Any],
    list_begins: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    column_weights: npt.NDArray[Any],
) -> None:
    """Do what `_mix` does, `FEW` queries at a time."""
    n_gallery = plain.shape[1]
    for first in range(0, len(plain), FEW):
        few = plain[first : first + FEW]
        ends = begins[first : first + len(few) + 1]
        own = slice(ends[0], ends[-1])
        lists = list_begins[images[own]].astype(np.int64)
        counts = list_begins[images[own] + 1] - lists
        at = np.arange(counts.sum()) + np.repeat(lists - (np.cumsum(counts) - counts), counts)
        smaller = np.minimum(np.repeat(weights[own], counts), column_weights[at])
        line = np.repeat(np.arange(len(few)) * n_gallery, np.diff(ends))
        place = np.repeat(line, counts) + columns[at]
        shared = np.bincount(place, smaller, minlength=few.size).reshape(few.shape)
        shared[few > limit[first : first + FEW, None]] = 0
        few[:] = (1 - share) * (1 - shared / (2 - shared)) + share * few.astype(np.float64)


@functools.cache
def compiled_mixer() -> Mixer | None:
    """Compile `_mix`, or give None where numba is not there or cannot compile."""
    try:
        import numba

        mixer: Mixer = numba.njit(nogil=True, cache=True)(_mix)
        begins, none = np.zeros(2, np.int32), np.zeros(0, np.int32)
        for kind in (np.float32, np.float64):
            mixer(np.ones((1, 1), kind), np.ones(1, kind), 0.5, begins, none, np.zeros(0, kind), begins, none,
                  np.zeros(0, kind))  # fmt: skip
    except Exception:  # of many kinds: no numba, no cache folder, a processor that LLVM does not know
        return None
    return mixer
