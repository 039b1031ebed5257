"""Reliability tables and the expected calibration error, against a loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.retrieval import expected_calibration_error, reliability_table

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def naive(stated: list[float], same: list[bool], bins: int, weights: list[float]) -> float:
    error = 0.0
    for at in range(bins):
        inside = [i for i, p in enumerate(stated) if min(int(p * bins), bins - 1) == at]
        total = sum(weights[i] for i in inside)
        if inside:
            error += abs(sum(weights[i] * (stated[i] - same[i]) for i in inside)) / sum(weights) * (total / total)
    return error


@given(PAIRS, st.integers(1, 20))
def test_error_against_a_loop(pairs: list[tuple[float, bool]], bins: int) -> None:
    stated, same = map(list, zip(*pairs))
    found = expected_calibration_error(stated, same, bins=bins, prior=None)
    assert found == pytest.approx(naive(stated, same, bins, [1.0] * len(same)), abs=1e-9)
    if 0 < sum(same) < len(same):
        weights = [0.3 / sum(same) if kind else 0.7 / (len(same) - sum(same)) for kind in same]
        found = expected_calibration_error(stated, same, bins=bins, prior=0.3)
        assert found == pytest.approx(naive(stated, same, bins, weights), abs=1e-9)


def test_by_hand() -> None:
    table = reliability_table([0.1, 0.15, 0.9, 1.0], [0, 1, 1, 1], bins=2, prior=None)
    assert table.to_dict("list") == {
        "low": [0.0, 0.5], "high": [0.5, 1.0], "pairs": [2, 2], "weight": [0.5, 0.5],
        "probability": [pytest.approx(0.125), pytest.approx(0.95)], "share": [0.5, 1.0],
    }  # fmt: skip
    error = expected_calibration_error([0.1, 0.15, 0.9, 1.0], [0, 1, 1, 1], bins=2, prior=None)
    assert error == pytest.approx((0.375 + 0.05) / 2)


def test_the_prior_is_that_of_the_probabilities() -> None:
    """Ten times as many pairs of different people change nothing that is stated at equal shares."""
    rng = np.random.default_rng(0)
    stated = rng.random(4000)
    same = rng.random(4000) < stated
    rare = np.concatenate([np.flatnonzero(same), np.tile(np.flatnonzero(~same), 10)])
    share = float(same.mean())
    even = expected_calibration_error(stated, same, prior=share)
    assert expected_calibration_error(stated[rare], same[rare], prior=share) == pytest.approx(even)
    assert even < 0.03 < expected_calibration_error(stated[rare], same[rare], prior=None)


def test_mistakes() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"probability": [0.5], "same": [True, False]}, "must be 2 numbers from 0 to 1"),
        ({"probability": [0.5, 1.1], "same": [True, False]}, "from 0 to 1"),
        ({"probability": [0.5, np.nan], "same": [True, False]}, "from 0 to 1"),
        ({"probability": ["a", "b"], "same": [True, False]}, "from 0 to 1"),
        ({"probability": [], "same": []}, "same must be a list"),
        ({"probability": [0.5], "same": [True]}, "All 1 pairs show the same identity"),
        ({"probability": [0.5], "same": [False]}, "All 1 pairs show different identities"),
        ({"probability": [0.5, 0.4], "same": [0, 1], "prior": 1}, "prior=1"),
        ({"probability": [0.5, 0.4], "same": [0, 1], "bins": 0}, "bins=0"),
        ({"probability": [0.5, 0.4], "same": [0, 2]}, "same must be a list"),
    ]
    for options, words in cases:
        with pytest.raises(UserError, match=words):
            reliability_table(**options)
