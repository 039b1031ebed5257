"""Near hashes against the naive double loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.data.audit.duplicates import expand_pairs, near_hashes


def naive(hashes: np.ndarray, distance: int) -> set[tuple[int, int]]:
    n = len(hashes)
    return {
        (i, j) for i in range(n) for j in range(i + 1, n) if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= distance
    }


# few different bits, so that many pairs are close
words = st.lists(st.sets(st.integers(0, 63), max_size=6), max_size=30).map(
    lambda sets: np.unique(np.array([sum(1 << bit for bit in bits) for bits in sets], dtype=np.uint64))
)


@settings(deadline=None)
@given(words, st.integers(1, 15))
def test_near_hashes_finds_what_the_double_loop_finds(hashes: np.ndarray, distance: int) -> None:
    pairs = near_hashes(hashes, distance)
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(naive(hashes, distance))


def test_near_hashes_on_many() -> None:
    generator = np.random.default_rng(0)
    base = generator.integers(0, 2**63, 300, dtype=np.uint64)
    flips = np.uint64(1) << generator.integers(0, 64, (300, 4), dtype=np.uint64)
    hashes = np.unique(np.concatenate([base, *(np.bitwise_xor.reduce(flips[:, :k], axis=1) ^ base for k in (1, 3, 4))]))
    assert {tuple(pair) for pair in near_hashes(hashes, 3).tolist()} == naive(hashes, 3)


@pytest.mark.parametrize("distance", [0, 16])
def test_distances_out_of_range(distance: int) -> None:
    with pytest.raises(ValueError, match="max_distance"):
        near_hashes(np.array([1, 2], dtype=np.uint64), distance)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=25), st.integers(1, 60), st.integers(0, 99))
def test_expand_pairs(values: list[int], block: int, seed: int) -> None:
    _, inverse = np.unique(np.array(values), return_inverse=True)
    count = inverse.max() + 1
    every = [(i, j) for i in range(count) for j in range(i + 1, count)]
    chosen = [pair for pair in every if (pair[0] + pair[1] + seed) % 2]
    pairs = np.array(chosen, dtype=np.int64).reshape(-1, 2)
    rows = [tuple(pair) for part in expand_pairs(inverse, pairs, block=block) for pair in part.tolist()]
    wanted = {
        (a, b)
        for a in range(len(values))
        for b in range(a + 1, len(values))
        if inverse[a] == inverse[b] or tuple(sorted((inverse[a], inverse[b]))) in chosen
    }
    assert len(rows) == len(set(rows)) and set(rows) == wanted


def test_expand_pairs_does_not_explode_on_one_hash() -> None:
    parts = list(expand_pairs(np.zeros(5_000, dtype=np.int64), np.empty((0, 2), dtype=np.int64), limit=10))
    assert sum(map(len, parts)) == 45
