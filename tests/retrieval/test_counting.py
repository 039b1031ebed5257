"""Compiled counting gives the numbers of the sorting path, ties included."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reidlab.retrieval import counting, evaluate, ranking


def problem(dtype: type, *, ties: bool, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    query, gallery = rng.standard_normal((40, 5)), rng.standard_normal((500, 5))
    if ties:  # few different vectors, none of them zero
        query, gallery = np.round(query) + 0.25, np.round(gallery) + 0.25
    return {
        "query": query.astype(dtype),
        "gallery": gallery.astype(dtype),
        "query_pids": rng.integers(0, 12, 40),
        "gallery_pids": rng.integers(-1, 12, 500),
        "query_camids": rng.integers(0, 4, 40),
        "gallery_camids": rng.integers(0, 4, 500),
    }


@pytest.mark.parametrize("rule", ranking.RULES)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_equals_sorting(
    dtype: type, ties: bool, metric: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if counting.compiled_counter() is None:
        pytest.skip("numba is not installed or cannot compile here")
    given = problem(dtype, ties=ties)
    sorting = evaluate(**given, metric=metric, rule=rule)
    monkeypatch.setattr(ranking, "LARGE", 0)
    compiled = evaluate(**given, metric=metric, rule=rule)
    pd.testing.assert_frame_equal(sorting.per_query, compiled.per_query, check_exact=True)
    assert sorting.mean_ap == compiled.mean_ap


def test_plain_python_of_the_kernel() -> None:
    scores = np.array([[0.5, 0.9, 0.5, -np.inf, 0.1]])
    nearer = np.zeros(3, np.int64)
    # a match at column 3 with score 0.5 has 0.9 above it and two ties on its left; at column 0 none of them
    counting._count(scores, np.array([0, 0, 0]), np.array([3, 0, 2]), np.array([0.5, 0.5, 1.0]), nearer)
    assert nearer.tolist() == [3, 1, 0]


def test_without_numba_large_problems_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(np.float64, ties=True)
    expected = evaluate(**given).mean_ap
    monkeypatch.setattr(ranking, "LARGE", 0)
    monkeypatch.setattr(ranking, "compiled_counter", lambda: None)
    assert evaluate(**given).mean_ap == expected
