"""Several runs' distances as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from retrieval_cases import golden, random_data

from reidlab.errors import UserError
from reidlab.retrieval import evaluate, fuse, rerank


def scaled(row: np.ndarray, scale: str) -> np.ndarray:
    if scale == "none":
        return row
    if scale == "min-max":
        return (row - min(row)) / (max(row) - min(row))
    mean = sum(row) / len(row)
    return (row - mean) / (sum((row - mean) ** 2) / len(row)) ** 0.5


@pytest.mark.parametrize("scale", ["z-score", "min-max", "none"])
@pytest.mark.parametrize("weights", [None, [1, 3], (0.0, 2.0), np.array([0.5, 0.5])])
def test_the_weighted_sum_of_scaled_rows(weights: Any, scale: Any) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((5, 9)), 100 * rng.random((5, 9))
    found = fuse([one, other], weights=weights, scale=scale)
    a, b = (1, 1) if weights is None else weights
    expected = [(a * scaled(x, scale) + b * scaled(y, scale)) / (a + b) for x, y in zip(one, other)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_runs_as_vectors_distances_and_numbers() -> None:
    data = golden()
    pair = data["query"], data["gallery"]
    distances = rerank(*pair, k1=4)
    found = fuse([pair, distances, distances.dense()], scale="min-max")
    assert found.shape == (6, 24) and "3 runs" in repr(found) and "k_reciprocal (k1=4" in found.told
    result = evaluate(**data, rerank=found)
    assert 0 < result.mean_ap <= 1 and "fusion of 3 runs" in result.sentence()
    assert evaluate(**data, rerank=fuse([pair])).mean_ap == pytest.approx(evaluate(**data).mean_ap)


def test_rows_of_equal_distances_say_nothing() -> None:
    rng = np.random.default_rng(0)
    other = rng.random((2, 4))
    for scale in ("z-score", "min-max"):
        found = fuse([np.full((2, 4), 0.1), other], scale=scale).dense()
        np.testing.assert_allclose(found, [scaled(row, scale) / 2 for row in other], atol=1e-12)


def test_two_models_are_better_than_one() -> None:
    data, other = random_data(0, n_query=60, n_gallery=300, dim=16), random_data(1, n_query=60, n_gallery=300, dim=16)
    people = np.random.default_rng(2).normal(size=(13, 16))
    runs = [
        tuple(people[data[f"{side}_pids"]] + 1.5 * each[side] for side in ("query", "gallery"))
        for each in (data, other)
    ]
    single = [evaluate(**{**data, "query": q, "gallery": g}).mean_ap for q, g in runs]
    assert evaluate(**data, rerank=fuse(runs)).mean_ap > max(single)


@pytest.mark.parametrize(
    ("runs", "options", "said"),
    [
        ([], {}, r"runs=\[\] must be a list"),
        ("abc", {}, "runs='abc' must be a list"),
        (3, {}, "runs=3 must be a list"),
        ([np.ones((2, 3)), np.ones((2, 4))], {}, "runs.1. are distances of 2 queries to 4 gallery images; here are 2"),
        ([np.full((2, 3), np.nan)], {}, "runs.0. has NaN or infinity in 2 rows"),
        (["x"], {}, "runs.0.='x' must be what `rerank` returns"),
        ([np.ones((2, 3))], {"weights": [1, 2]}, "weights=.* must be a number for each of the 1 runs"),
        ([np.ones((2, 3))], {"weights": 1}, "weights=1 must be a number for each"),
        ([np.ones((2, 3))], {"weights": [-1]}, "weights.0.=-1 must be a number from 0"),
        ([np.ones((2, 3))], {"weights": [0]}, "weights are all 0"),
        ([np.ones((2, 3))], {"scale": "rank"}, "scale='rank' is not one of"),
        ([(np.ones((2, 3)), np.ones((2, 4)))], {}, "query vectors have 3 dims, gallery vectors 4"),
    ],
)
def test_what_cannot_be_fused(runs: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        fuse(runs, **options)
