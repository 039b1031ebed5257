"""The heaps and blocks of the compiled search, in plain Python and compiled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.retrieval.reranking import all_pairs


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_a_heap_keeps_the_best(size: int, values: list[int]) -> None:
    square, index = np.full(size, np.inf), np.full(size, 1000)
    for image, value in enumerate(values):
        all_pairs._put(square, index, float(value), image)
    expected = sorted((float(value), image) for image, value in enumerate(values))[:size]
    expected += [(np.inf, 1000)] * (size - len(expected))
    assert sorted(zip(square.tolist(), index.tolist())) == expected
    assert (square[0], index[0]) == expected[-1], "the first entry is the worst"


def test_plain_python_of_the_kernel() -> None:
    """Two blocks of five images on a line, each with itself and the two with each other."""
    places = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 0.0, 3.0, 3.0, 9.0, 5.0])[:, None]
    square, index, far = np.full((10, 3), np.inf), np.full((10, 3), 10), np.zeros(10)
    square[:, -1], index[:, -1] = 0, np.arange(10)
    for top, left in ((0, 0), (5, 5), (0, 5)):
        dots = places[top : top + 5] @ places[left : left + 5].T
        all_pairs._keep_nearest(dots, (places**2).sum(axis=1) / 2, top, left, square, index, far)
    wanted = (places - places.T) ** 2
    for image in range(10):
        others = sorted((wanted[image, other], other != image, other) for other in range(10))[:3]
        assert sorted(index[image].tolist()) == sorted(other for _, _, other in others)
    np.testing.assert_array_equal(2 * far, wanted.max(axis=1))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 511, 513, 1500])
def test_both_images_get_one_distance_and_threads_change_nothing(count: int, threads: int) -> None:
    keeper = all_pairs.compiled_keeper()
    if keeper is None:
        pytest.skip("numba cannot compile here")
    vectors = np.random.default_rng(count).normal(size=(count, 33)).astype(np.float32)
    k = min(count, 9)
    one = all_pairs.nearest_of_pairs(keeper, vectors, k, threads=1, block_mib=64)
    index, square, far = all_pairs.nearest_of_pairs(keeper, vectors, k, threads=threads, block_mib=64)
    for mine, first in zip((index, square, far), one):
        np.testing.assert_array_equal(mine, first)
    table = {(i, j): value for i in range(count) for j, value in zip(index[i].tolist(), square[i].tolist())}
    assert all(table.get((j, i), value) == value for (i, j), value in table.items())
    assert (square[:, 0] == 0).all() and (index[:, 0] == np.arange(count)).all() and (np.diff(square) >= 0).all()


@pytest.mark.parametrize("blocks", [1, 2, 3, 8])
def test_every_pair_of_blocks_comes_once(blocks: int) -> None:
    pairs = list(all_pairs._pairs(blocks))
    assert sorted(pairs) == [(one, two) for one in range(blocks) for two in range(one, blocks)]
