"""Bootstrap intervals against a loop, and their use in evaluate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from retrieval_cases import random_data

from reidlab.errors import UserError
from reidlab.retrieval.confidence import FEW_IDENTITIES, bootstrap_intervals, few_identities, share_intervals
from reidlab.retrieval.metrics import evaluate


def test_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    groups, values = rng.integers(0, 30, 400), rng.random(400)
    generator = np.random.default_rng(4)
    means = []
    for _ in range(4000):
        drawn = generator.integers(0, 30, 30)
        means.append(np.concatenate([values[groups == group] for group in drawn]).mean())
    low, high = bootstrap_intervals({"x": values}, groups, count=4000, seed=1)["x"]
    assert (low, high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=2e-3)


def test_seeded_and_wider_over_identities_than_over_queries() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    values = rng.random(40)[groups]  # all queries of a person are equally hard
    one, two = (bootstrap_intervals({"x": values}, groups, seed=3)["x"] for _ in range(2))
    loose = bootstrap_intervals({"x": values}, np.arange(400), seed=3)["x"]
    assert one == two != bootstrap_intervals({"x": values}, groups, seed=4)["x"]
    assert one[1] - one[0] > 2 * (loose[1] - loose[0])


def test_coverage() -> None:
    """A 90 % interval of a mean of 60 groups holds the truth in about 90 % of samples."""
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        low, high = bootstrap_intervals({"x": rng.normal(size=60)}, np.arange(60), count=300, seed=trial, level=0.9)[
            "x"
        ]
        inside += low <= 0 <= high
    assert 165 <= inside <= 195


def test_one_identity_and_mistakes() -> None:
    assert bootstrap_intervals({"x": [0.0, 1.0]}, [7, 7])["x"] == (0.5, 0.5)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"count": 0}, "count=0 must be a whole number from 1"),
        ({"count": 2.0}, "count=2.0 must be a whole number"),
        ({"count": 10**12}, "must be a whole number from 1 to 1,000,000"),
        ({"level": 1.0}, "level=1.0 must be a number above 0 and below 1"),
        ({"level": float("nan")}, "level=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": None}, "seed=None"),
    ]
    for options, words in wrong:
        with pytest.raises(UserError, match=words):
            bootstrap_intervals({"x": [1.0]}, [0], **options)
    for values in ([1.0], [1.0, np.nan], ["a", "b"], [[1.0, 2.0]], None, [[1], [2, 3]]):
        with pytest.raises(UserError, match="x must be 2 finite numbers, one for each group"):
            bootstrap_intervals({"x": values}, [0, 1])  # type: ignore[dict-item]
    for given in ({"values": {}, "groups": [0]}, {"values": {"x": []}, "groups": []}):
        with pytest.raises(UserError, match="at least one of each needed"):
            bootstrap_intervals(**given)
    with pytest.raises(UserError, match="groups is missing in row 1"):
        bootstrap_intervals({"x": [1.0, 2.0]}, [0, None])  # type: ignore[list-item]


def test_evaluate_reports_intervals() -> None:
    data = random_data(0, n_query=200)
    result = evaluate(**data, bootstrap=200, seed=5)
    assert set(result.intervals) == {"rank1", "rank5", "rank10", "mAP", "mINP"}
    for name, value in result.scores().items():
        low, high = result.intervals[name]
        assert 0 <= low <= value <= high <= 1
    assert result.intervals == evaluate(**data, bootstrap=200, seed=5).intervals
    assert evaluate(**data).intervals == {}


def test_shares_at_the_ends_have_a_width() -> None:
    """The exact interval: with a true share at its far end, all of the identities are right in 2.5 % of samples."""
    groups = np.repeat(np.arange(4), 3)
    given = {"one": np.ones(12), "none": np.zeros(12), "some": np.repeat([0.0, 1.0, 1.0, 1.0], 3)}
    found = share_intervals(given, groups, seed=2)
    low = found["one"][0]
    assert found["one"] == (pytest.approx(0.025 ** (1 / 4)), 1.0) and low**4 == pytest.approx(0.025)
    assert found["none"] == (0.0, pytest.approx(1 - low))
    assert found["some"] == bootstrap_intervals(given, groups, seed=2)["some"]
    wide = share_intervals({"one": [1.0]}, [7], level=0.9)["one"]
    assert wide == (pytest.approx(0.05), 1.0), "one identity says next to nothing"
    many = share_intervals({"one": np.ones(750)}, np.arange(750))["one"]
    assert 0.995 < many[0] < 0.9952


def test_a_perfect_ranking_is_not_certain() -> None:
    vectors = np.eye(4)
    labels = {"query_pids": range(4), "gallery_pids": range(4)}
    result = evaluate(vectors, vectors, **labels, bootstrap=50)
    assert result.mean_ap == 1 and result.intervals["rank1"] == (pytest.approx(0.025 ** (1 / 4)), 1.0)
    assert len(set(result.intervals.values())) == 1


def test_few_identities_are_said() -> None:
    assert few_identities(FEW_IDENTITIES) == ""
    assert few_identities(FEW_IDENTITIES - 1).startswith(f"Only {FEW_IDENTITIES - 1} identities are queried: below 30")
    assert few_identities(1).startswith("Only one identity is queried")
