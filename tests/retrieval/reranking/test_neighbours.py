"""The nearest neighbours of all images, by blocks, against a stable sort of whole rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reranking_cases import squares
from retrieval_cases import random_data

from reidlab.retrieval.inputs import problem_of
from reidlab.retrieval.reranking import neighbours
from reidlab.retrieval.reranking.all_pairs import compiled_keeper
from reidlab.retrieval.reranking.neighbours import nearest_in_gallery, nearest_neighbours
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Labels


@pytest.fixture(params=["by rows", "by pairs"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Search by both ways, whatever the number of images."""
    if request.param == "by pairs" and compiled_keeper() is None:
        pytest.skip("numba cannot compile here")
    monkeypatch.setattr(neighbours, "LARGE", 0 if request.param == "by pairs" else 2**62)
    return str(request.param)


@pytest.mark.parametrize("block_mib", [100.0, 0.01, 1e-6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("count", "k"), [(1, 1), (1, 5), (40, 3), (300, 3), (300, 1), (300, 299), (300, 1000)])
@pytest.mark.parametrize("grid", [False, True])
def test_as_a_stable_sort(count: int, k: int, dtype: type, block_mib: float, grid: bool, way: str) -> None:
    rng = np.random.default_rng(count + k)
    draw = rng.integers(-2, 3, (count, 3)) if grid else rng.normal(size=(count, 3))
    vectors = draw.astype(dtype)
    found = nearest_neighbours(vectors, k, block_mib=block_mib, farthest=True)
    expected = np.array(squares(vectors))
    order = np.argsort(expected, axis=1, kind="stable")[:, :k]
    assert (found.index == order).all() or not grid  # others may be so near each other that float32 swaps them
    tolerance = 0 if grid else 1e-5
    np.testing.assert_allclose(found.square, np.take_along_axis(expected, found.index, 1), atol=tolerance)
    np.testing.assert_allclose(found.square, np.take_along_axis(expected, order, 1), atol=tolerance)
    np.testing.assert_allclose(found.farthest, expected.max(axis=1), atol=tolerance)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 10**6))
def test_equal_images_have_equal_lists(way: str, count: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(max(1, count // 3), 5)).astype(np.float32)[rng.integers(0, max(1, count // 3), count)]
    found = nearest_neighbours(vectors, k, block_mib=0.01)
    for image in range(count):
        equal = np.flatnonzero((vectors == vectors[image]).all(axis=1))
        assert (found.index[equal] == found.index[image]).all()
        assert (found.index[image, : len(equal)] == equal[:k]).all() and (found.square[image, : len(equal)] == 0).all()


@pytest.mark.parametrize("k", [2, 40])
def test_hundreds_of_equal_images_are_listed_by_parts(k: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PAIRS", 50)
    rng = np.random.default_rng(k)
    vectors = rng.integers(0, 3, (400, 2)).astype(float)
    found = nearest_neighbours(vectors, k, block_mib=1)
    order = np.argsort(np.array(squares(vectors)), axis=1, kind="stable")[:, :k]
    assert (found.index == order).all() and (found.farthest == 0).all()


@pytest.mark.parametrize("keep", [1, 250, 512, 700])
def test_products_are_kept_where_they_fit(keep: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled_keeper() is None:
        pytest.skip("numba cannot compile here")
    monkeypatch.setattr(neighbours, "LARGE", 0)
    vectors = np.random.default_rng(keep).normal(size=(1300, 6))
    found = nearest_neighbours(vectors, 3, block_mib=100, keep=keep)
    assert found.dots is not None
    np.testing.assert_allclose(found.dots, vectors[:keep] @ vectors[keep:].T, atol=1e-12)
    small = nearest_neighbours(vectors, 3, block_mib=0.001 * keep, keep=keep)
    assert small.dots is None and (small.index == found.index).all()
    twice = np.concatenate([vectors, vectors[:1]])
    assert nearest_neighbours(twice, 3, block_mib=100, keep=keep).dots is None


@pytest.mark.parametrize("block_mib", [100.0, 1e-4])
@pytest.mark.parametrize("k", [1, 4, 500])
def test_nearest_gallery_images(k: int, block_mib: float) -> None:
    data = random_data(1, n_gallery=150, dim=3, grid=True)
    data["query"] += 0.5
    data["gallery"] += 0.5
    sides = Labels(data["query_pids"]), Labels(np.abs(data["gallery_pids"]))
    problem = problem_of(data["query"], data["gallery"], *sides, metric="euclidean")
    index, score = nearest_in_gallery(Scorer(problem), k, block_mib=block_mib)
    for row, query in enumerate(data["query"]):
        values = [float(image @ query - image @ image / 2) for image in data["gallery"]]
        order = sorted(range(150), key=lambda at: -values[at])[:k]
        assert index[row].tolist() == order and score[row].tolist() == [values[at] for at in order]
