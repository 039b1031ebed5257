"""The mean relative drop, by hand and against a loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.retrieval.confidence import bootstrap_intervals, drawn_means
from reidlab.retrieval.drops import relative_drop


def test_by_hand() -> None:
    found = relative_drop([0.8, 0.4], [[0.4, 0.2], [0.2, 0.4]], ["a", "b"])
    assert found.drop == pytest.approx(1 - 0.3 / 0.6)
    assert relative_drop([0.5, 0.5], [[0.5, 0.5]], [1, 2]) == (0, 0, 0)
    assert relative_drop([0.5, 0.5], [[0.0, 0.0]], [1, 2]) == (1, 1, 1)
    gained = relative_drop([0.5, 0.5], [[0.75, 0.75]], [1, 2])
    assert gained.drop == pytest.approx(-0.5)


def test_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 25, 200)
    clean = rng.random(200)
    corrupted = [clean * rng.random(200), clean * 0.2]
    generator, drops = np.random.default_rng(9), []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(groups == group) for group in generator.integers(0, 25, 25)])
        drops.append(1 - np.mean([each[rows].mean() for each in corrupted]) / clean[rows].mean())
    found = relative_drop(clean, corrupted, groups, count=4000, seed=1)
    assert (found.low, found.high) == pytest.approx(np.quantile(drops, [0.025, 0.975]), abs=3e-3)
    assert found.low < found.drop < found.high


def test_what_is_hard_in_both_does_not_widen_it() -> None:
    clean = np.random.default_rng(0).random(60)
    found = relative_drop(clean, [clean / 2], np.arange(60))
    assert found == pytest.approx((0.5, 0.5, 0.5))


def test_nothing_to_lose_and_no_interval() -> None:
    assert all(map(math.isnan, relative_drop([0, 0], [[0.1, 0]], [1, 2])))
    alone = relative_drop([0.5, 1], [[0.25, 0.5]], [1, 2], count=0)
    assert alone.drop == pytest.approx(0.5) and math.isnan(alone.low) and math.isnan(alone.high)
    some = relative_drop([0.0, 1.0], [[0.0, 0.5]], [1, 2], count=200)
    assert some == pytest.approx((0.5, 0.5, 0.5)), "draws of the first alone have nothing to lose"


@pytest.mark.parametrize(
    ("clean", "corrupted", "groups", "options", "said"),
    [
        ([1], [], [1], {}, "at least one other condition"),
        ([1], "ab", [1], {}, "at least one other condition"),
        ([1], [[1, 2]], [1], {}, "condition 1 must be 1 finite numbers"),
        ([1, 2], [[1, 2]], [1], {}, "clean must be 1 finite numbers"),
        ([1, 2], [[1, math.nan]], [1, 2], {}, "condition 1 must be 2 finite numbers"),
        ([], [[]], [], {}, "at least one of each needed"),
        ([1], [[1]], [1], {"count": -1}, "count=-1"),
        ([1], [[1]], [1], {"level": 1.0}, "level=1.0"),
        ([1], [[1]], [1], {"seed": -1}, "seed=-1"),
    ],
)
def test_mistakes(clean: Any, corrupted: Any, groups: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        relative_drop(clean, corrupted, groups, **options)


@given(st.integers(1, 12), st.integers(0, 99), st.integers(1, 3))
def test_a_drop_is_at_most_all_and_the_draws_are_shared(n: int, seed: int, conditions: int) -> None:
    rng = np.random.default_rng(seed)
    groups, clean = rng.integers(0, 4, n), rng.random(n) + 0.01
    found = relative_drop(clean, [rng.random(n) for _ in range(conditions)], groups, count=50, seed=seed)
    assert found.drop <= 1 and found.low <= found.high <= 1
    draws = drawn_means({"x": clean, "y": 2 * clean}, groups, count=50, seed=seed)
    assert draws.shape == (50, 2) and np.allclose(draws[:, 1], 2 * draws[:, 0])
    low, high = bootstrap_intervals({"x": clean}, groups, count=50, seed=seed)["x"]
    assert (low, high) == pytest.approx(np.quantile(draws[:, 0], [0.025, 0.975]))
