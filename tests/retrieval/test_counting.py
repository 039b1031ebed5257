"""Compiled counting gives the numbers of the sorting path, ties included."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reidlab.retrieval import counting, evaluate, matching, ranking


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


@pytest.mark.parametrize("rule", matching.RULES)
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


@pytest.mark.parametrize("dropped", [False, True])
def test_plain_python_of_the_kernel(dropped: bool) -> None:
    dots = np.array([[0.5, 0.9, 0.5, 0.5, 0.1, 1.0]])
    column = np.array([3, 0, 5])  # the images of the query's identity: they are never in front of each other
    score, nearer, wrong = dots[0, column], np.full(3, 99), np.zeros(1)
    cams, camera = (np.array([0, 1, 0, 0, 0, 0]), np.array([1])) if dropped else (np.zeros(0, np.int64),) * 2
    ends, none = np.array([0, 3]), np.zeros(1, np.int64)
    counting._count_block(dots, none, np.ones(6), True, ends, column, cams, camera, ends, score, column, nearer, wrong)
    # at column 3 the 0.9 is in front and the tie at 2, at column 0 the tie stands behind; dropping camera 1 drops 0.9
    assert nearer.tolist() == ([1, 0, 0] if dropped else [2, 1, 0])
    assert wrong.tolist() == ([0.5] if dropped else [0.9])


@pytest.mark.parametrize("tile", [1, 2, 3, 7, 4096])
def test_tiles_of_any_size(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matches may stand in another part of the gallery: their places are before, among and behind these images."""
    monkeypatch.setattr(counting, "TILE", tile)
    rng = np.random.default_rng(tile)
    dots, lines, column = rng.integers(0, 4, (2, 11)) * 1.0, np.array([1, 0, 1]), np.array([4, 9, 0, 3])
    factor, ends, sought = rng.permutation(11) * 0.5, np.array([0, 2, 2, 4]), np.array([0, 1, 5, 6])
    score, place = np.array([1.5, 0.0, 3.0, 7.5, 1.0, 3.0]), np.array([0, 11, 5, 4, 1, 10])
    for scales in (True, False):
        nearer, wrong = np.zeros(6, np.int64), np.zeros(3)
        counting._count_block(
            dots, lines, factor, scales, ends, column, *[np.zeros(0, np.int64)] * 2, sought, score, place, nearer, wrong
        )
        for query, line in enumerate(lines):
            row = dots[line] * factor if scales else dots[line] - factor
            row[column[ends[query] : ends[query + 1]]] = -np.inf
            assert wrong[query] == row.max()
            for at in range(sought[query], sought[query + 1]):
                left, right = row[: place[at]], row[place[at] :]
                assert nearer[at] == (left >= score[at]).sum() + (right > score[at]).sum()


def test_without_numba_large_problems_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(np.float64, ties=True)
    expected = evaluate(**given).mean_ap
    monkeypatch.setattr(ranking, "LARGE", 0)
    monkeypatch.setattr(ranking, "compiled_counter", lambda: None)
    assert evaluate(**given).mean_ap == expected
