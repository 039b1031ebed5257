"""Pairs of images that look alike: 64-bit hashes within a Hamming distance, in less than quadratic time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["expand_pairs", "near_hashes"]

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]


def near_hashes(hashes: Hashes, max_distance: int = 3) -> Pairs:
    """Find all pairs of different hashes that differ in at most `max_distance` bits.

    Cut into max_distance + 1 bands of bits, two such hashes agree in one band at least (there are more bands than
    differing bits). So only hashes that share a band are compared: sorted by the band, each with those behind it.
    Memory grows with the number of hashes and of pairs found, time with the pairs that share a band.

    Args:
        hashes: different 64-bit numbers.
        max_distance: 1 to 15.

    Returns:
        int64 [pair, 2]: positions in `hashes`, the smaller first, each pair once, sorted.
    """
    if not 1 <= max_distance <= 15:
        raise ValueError(f"max_distance={max_distance} should be between 1 and 15.")
    keys = list(_bands(hashes, max_distance + 1))
    found = []
    for number, key in enumerate(keys):
        order = np.argsort(key, kind="stable")
        for left, right in _sharing(key[order]):
            first, second = order[left], order[right]
            close = np.bitwise_count(hashes[first] ^ hashes[second]) <= max_distance
            first, second = first[close], second[close]
            for earlier in keys[:number]:  # a pair belongs to the first band that it shares
                fresh = earlier[first] != earlier[second]
                first, second = first[fresh], second[fresh]
            if len(first):
                found.append(np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1))
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    pairs = np.concatenate(found).astype(np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _bands(hashes: Hashes, count: int) -> Iterator[Hashes]:
    edges = np.linspace(0, 64, count + 1).astype(int)
    for low, high in pairwise(edges):
        mask = np.uint64((1 << int(high - low)) - 1)
        yield (hashes >> np.uint64(low)) & mask


def _sharing(key: Hashes) -> Iterator[tuple[Pairs, Pairs]]:
    """Return positions of equal neighbours in a sorted key: those 1 apart, then 2 apart, ... until none are left."""
    ends = np.searchsorted(key, key, side="right")
    active = np.arange(len(key))
    apart = 1
    while True:
        active = active[active + apart < ends[active]]
        if len(active) == 0:
            return
        yield active, active + apart
        apart += 1


def expand_pairs(inverse: Pairs, pairs: Pairs, limit: int = 200, block: int = 1_000_000) -> Iterator[Pairs]:
    """Turn pairs of different hashes into pairs of rows, those that share a hash among them.

    Args:
        inverse: int64 [row]: which hash each row has (`np.unique(..., return_inverse=True)`).
        pairs: int64 [pair, 2] of hashes, from `near_hashes`.
        limit: of rows compared for one hash; more are blank or damaged images, and pairs of them say nothing new.
        block: about how many pairs of rows come at a time.

    Yields:
        int64 [pair, 2] of rows, the smaller first.
    """
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(inverse.max(initial=-1) + 2))
    sizes = np.minimum(np.diff(starts), limit)
    shared = np.flatnonzero(sizes > 1)
    everything = np.concatenate([pairs, np.stack([shared, shared], axis=1)]).astype(np.int64)
    counts = sizes[everything[:, 0]] * sizes[everything[:, 1]]
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // block)) + 1
    for part in np.split(everything, cuts):
        widths, repeats = sizes[part[:, 1]], sizes[part[:, 0]] * sizes[part[:, 1]]
        which = np.repeat(np.arange(len(part)), repeats)
        inside = np.arange(len(which)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        first = order[starts[part[which, 0]] + inside // widths[which]]
        second = order[starts[part[which, 1]] + inside % widths[which]]
        # within one hash every pair came twice and each row met itself
        keep = (part[which, 0] != part[which, 1]) | (inside // widths[which] < inside % widths[which])
        rows = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)[keep]
        if len(rows):
            yield rows
