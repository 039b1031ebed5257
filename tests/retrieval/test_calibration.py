"""Calibration: probabilities, false-accept rates, thresholds with intervals, what is kept in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_cases import people

from reidlab.errors import UserError
from reidlab.retrieval import Calibration, fit_calibration, sample_pairs
from reidlab.retrieval.calibration import _drawn

PRIORS = st.floats(0.001, 0.999)


def scores(n_same: int = 600, n_other: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian cosines, means 0.6 and 0.2: the true log odds at equal shares are (s - 0.4) x 0.4 / 0.01."""
    rng = np.random.default_rng(seed)
    same = np.arange(n_same + n_other) < n_same
    return np.clip(rng.normal(np.where(same, 0.6, 0.2), 0.1), -1, 1), same


@pytest.fixture(scope="module")
def logistic() -> Calibration:
    return fit_calibration(scores(), draws=1)


@pytest.fixture(scope="module")
def with_people() -> Calibration:
    return fit_calibration(people(60, 4), draws=200, source="a test")


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_gives_the_true_probability(method: str) -> None:
    found = fit_calibration(scores(6000, 30_000), method=method, draws=1)
    near = 0.035 if method == "logistic" else 0.07
    at = np.linspace(0.3, 0.5, 9)
    true = 1 / (1 + np.exp(-(at - 0.4) * 40))
    np.testing.assert_allclose(found.probability(at), true, atol=near)
    odds = true / (1 - true) * 0.1 / 0.9
    np.testing.assert_allclose(found.probability(at, prior=0.1), odds / (1 + odds), atol=near)
    assert found.ece < 0.02 and len(found.knots) <= 66


def test_isotonic_follows_what_a_line_cannot() -> None:
    rng = np.random.default_rng(0)
    cosine = rng.uniform(-0.2, 1, 40_000)
    true = np.interp(cosine, [-0.2, 0.2, 0.3, 0.8, 1], [0.1, 0.1, 0.5, 0.5, 0.9])
    given = cosine, rng.random(40_000) < true
    line, curve = (fit_calibration(given, method=method, draws=1) for method in ("logistic", "isotonic"))
    np.testing.assert_allclose(curve.probability([0.0, 0.5, 0.7], prior=np.mean(given[1])), [0.1, 0.5, 0.5], atol=0.05)
    assert curve.ece < 0.02 < line.ece


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), PRIORS, PRIORS)
@settings(deadline=None)
def test_rises_with_similarity_and_prior(logistic: Calibration, values: list[float], one: float, two: float) -> None:
    at = np.sort(values)
    chances = logistic.probability(at, prior=min(one, two))
    assert ((chances > 0) & (chances < 1) & (np.diff(chances, prepend=0) >= 0)).all()
    assert (logistic.probability(at, prior=max(one, two)) >= chances).all()
    assert (np.diff(logistic.false_accept_rate(at)) <= 0).all()
    assert (np.diff(logistic.true_accept_rate(at)) <= 0).all()


def test_is_no_surer_than_the_pairs_allow() -> None:
    """Eleven pairs of one person, all of them apart from the others: 12 to 1, not infinity."""
    found = fit_calibration((np.repeat([0.9, 0.1], [11, 500]), np.arange(511) < 11), draws=1)
    assert found.probability(1.0) == pytest.approx(12 / 13, abs=1e-4)
    assert found.probability(-1.0) == pytest.approx(1 / 13, abs=1e-4)


def test_false_accept_rates_against_a_loop(logistic: Calibration) -> None:
    cosine, same = scores()
    other = cosine[~same]
    for at in [*np.linspace(-1, 1, 201), *other[:50], other.max()]:
        true = (sum(value >= at for value in other) + 1) / (len(other) + 1)
        assert true <= logistic.false_accept_rate(at) <= min(1.0, 1.06 * true) + 1e-12
    assert logistic.false_accept_rate(1.0) == 1 / 3001, "never 0"
    assert isinstance(logistic.false_accept_rate(0.3), float) and isinstance(logistic.probability(0.3), float)
    assert logistic.false_accept_rate(np.zeros((2, 3))).shape == (2, 3)


def test_true_accept_rates_against_a_loop(logistic: Calibration) -> None:
    cosine, same = scores()
    for at in np.linspace(-1, 1, 201):
        assert logistic.true_accept_rate(at) == pytest.approx((cosine[same] >= at).mean(), abs=0.011)


@pytest.mark.parametrize("far", [0.001, 0.0033, 0.01, 0.1, 0.5])
def test_thresholds_keep_the_rate(logistic: Calibration, far: float) -> None:
    cosine, same = scores()
    value, (low, high) = logistic.threshold(far)
    assert (cosine[~same] >= value).mean() <= far and logistic.false_accept_rate(value) <= far
    assert (cosine[~same] >= value).sum() >= 0.94 * far * 3000 - 2, "a twentieth of the rate is given away, and a pair"
    assert np.isnan(low) and np.isnan(high), "nobody said who is in the pairs"


def test_rates_that_the_pairs_cannot_show(logistic: Calibration) -> None:
    assert logistic.lowest_rate == 0.001
    with pytest.raises(UserError, match=r"far=0.0001 is lower than 3,000 pairs .* at least 30000 are needed"):
        logistic.threshold(0.0001)
    with pytest.raises(UserError, match="endlessly many"):
        logistic.threshold(0)
    for far in (-0.1, 0.6, float("nan"), None, True, "0.1"):
        with pytest.raises(UserError, match="far="):
            logistic.threshold(far)  # type: ignore[arg-type]
    assert logistic.to_frame()["threshold"].isna().tolist() == [True, False, False, False]
    few = fit_calibration(([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0]), draws=1)
    assert few.lowest_rate == 0.5 and few.threshold(0.5)[0] > 0.1


def test_intervals_against_a_loop() -> None:
    """Pairs are repeated as often as the draws of their people say, and the threshold is read off each time."""
    embeddings = people(12, 3)
    pairs = sample_pairs(embeddings, embeddings, count=10_000)
    other = pairs[~pairs["same"]]
    found = fit_calibration(pairs, draws=300, seed=3)
    rng, thresholds = np.random.default_rng(9), []
    names = np.unique(other[["query_pid", "gallery_pid"]])
    for _ in range(600):
        drawn = rng.choice(names, len(names)).tolist()
        times = [drawn.count(a) * drawn.count(b) for a, b in zip(other["query_pid"], other["gallery_pid"])]
        repeated = np.sort(np.repeat(other["similarity"].to_numpy(), times))[::-1]
        thresholds.append(repeated[int(0.1 * len(repeated))])
    low, high = np.quantile(thresholds, [0.025, 0.975])
    assert found.threshold(0.1)[1] == pytest.approx((low, high), abs=0.02)


def test_intervals_hold_the_threshold_and_are_of_people(with_people: Calibration) -> None:
    frame = with_people.to_frame((0.01, 0.05, 0.5))
    assert (frame["low"] <= frame["threshold"]).all() and (frame["threshold"] <= frame["high"]).all()
    assert (frame["low"] < frame["high"]).all() and with_people.n_identities == 60
    assert fit_calibration(people(60, 4), draws=200, source="a test") == with_people
    assert fit_calibration(people(60, 4), draws=200, seed=1).spans != with_people.spans


def test_every_way_to_give_pairs_is_the_same() -> None:
    embeddings = people(10, 4)
    pairs = _drawn(embeddings, 100_000, 0)
    columns = pairs["similarity"].to_numpy(), pairs["same"].tolist()
    both = pairs[["query_pid", "gallery_pid"]].to_numpy()
    one = fit_calibration(embeddings, count=100_000, draws=20)
    assert one == fit_calibration(pairs, draws=20) == fit_calibration(columns, identities=both, draws=20)
    assert fit_calibration(columns, draws=20).knots == one.knots


def test_embeddings_give_each_pair_once_and_none_of_one_camera() -> None:
    embeddings = people(8, 4)
    pids, camids = embeddings.pids, embeddings.camids
    assert camids is not None
    pairs = _drawn(embeddings, 100_000, 0)
    valid = {
        (i, j)
        for i in range(len(pids))
        for j in range(i + 1, len(pids))
        if pids[i] != pids[j] or camids[i] != camids[j]
    }
    got = [(min(pair), max(pair)) for pair in pairs[["query", "gallery"]].itertuples(index=False)]
    assert set(got) == valid and len(got) == len(valid)
    assert _drawn(embeddings, 7, 0)["same"].value_counts().tolist() == [7, 7]


def test_junk_and_distractors_are_nobody() -> None:
    embeddings = people(8, 4)
    table = embeddings.table.assign(distractor=embeddings.pids == 3)
    table.loc[table["pid"] == 2, "pid"] = -1
    found = fit_calibration(type(embeddings)(embeddings.vectors, table), draws=1)
    assert found.n_identities == 6
    assert "6 identities say little of other people" in found.sentence()


def test_the_error_is_measured_on_people_left_out() -> None:
    """An isotonic curve fits its own few pairs nearly perfectly; on others it does not."""
    embeddings = people(16, 3, noise=3.0)
    found = fit_calibration(embeddings, method="isotonic", draws=1)
    pairs = _drawn(embeddings, 50_000, 0)
    own = fit_calibration((pairs["similarity"], pairs["same"]), method="isotonic", draws=1)
    assert found.ece > own.ece and not any("fitted on" in note for note in found.notes)
    assert own.notes == ("its error was measured on the pairs it was fitted on",)
    assert found.reliability_table()["weight"].sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_file(method: str, tmp_path: Path) -> None:
    found = fit_calibration(people(40, 4), method=method, draws=50, source="small on the built-in data")
    path = found.save(tmp_path / "new" / "calibration.json")
    assert Calibration.load(path) == found and path.stat().st_size < 12_000
    assert "small on the built-in data" in repr(found) and "<table" in found._repr_html_()


def test_damaged_files(with_people: Calibration, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no calibration at .* fit_calibration"):
        Calibration.load(tmp_path / "none.json")
    path = with_people.save(tmp_path / "calibration.json")
    content = json.loads(path.read_text())
    changes: list[dict[str, Any]] = [
        {"calibration": 2}, {"knots": []}, {"knots": [[0, 1], [0.5, 0.5]]}, {"accepted": [[1, 0.1], [2, 0.9]]},
        {"passed": [2, 1]}, {"n_different": "many"}, {"n_different": 0}, {"method": "magic"}, {"ece": 2}, {"knots": 3},
        {"spans": [[1, 2]]}, {"notes": [3]}, {"source": 3},
    ]  # fmt: skip
    for change in changes:
        path.write_text(json.dumps(content | change))
        with pytest.raises(UserError, match="holds no readable calibration"):
            Calibration.load(path)
    for text in ("", "[]", "{}", "no"):
        path.write_text(text)
        with pytest.raises(UserError):
            Calibration.load(path)


def test_mistakes() -> None:
    cosine, same = scores(20, 20)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        ((cosine, same), {"method": "magic"}, "method='magic' is not one of logistic, isotonic"),
        ((1 - cosine, same), {}, "does not tell people apart, or the similarities are distances"),
        ((cosine, np.ones(40)), {}, "two of different people at least; got 40 and 0"),
        ((cosine[:39], same), {}, "similarities must be 40 cosines"),
        ((np.where(same, np.nan, cosine), same), {}, "must be 40 cosines"),
        ((cosine * 100, same), {}, "must be 40 cosines, from -1 to 1"),
        ((cosine.astype(str), same), {}, "must be 40 cosines"),
        ((cosine, same * 2), {}, "same must be a list of true and false"),
        (([[1], []], same), {}, "must be 40 cosines"),
        ((cosine, [[1], []]), {}, "same must be a list of true and false"),
        ((cosine, same), {"identities": [[1], []]}, "identities must be two per pair"),
        (([], []), {}, "same must be a list of true and false"),
        ((cosine, same), {"identities": np.zeros(40)}, r"identities must be two per pair, \[40, 2\]"),
        ((cosine, same), {"identities": np.zeros((40, 2), int)}, "do not agree in 20 pairs, first in pair 20"),
        ((cosine, same), {"draws": 0}, "draws=0"),
        ((cosine, same), {"seed": -1}, "seed=-1"),
        (pd.DataFrame({"distance": cosine, "same": same}), {}, "no column 'similarity'.* metric='cosine'"),
        ("pairs", {}, "pairs must be Embeddings, a frame of sample_pairs or"),
        (people(8, 3), {"count": 1}, "count=1"),
    ]
    for pairs, options, words in cases:
        with pytest.raises(UserError, match=words):
            fit_calibration(pairs, **options)
    found = fit_calibration((cosine, same), draws=1)
    for function in (found.probability, found.false_accept_rate, found.true_accept_rate):
        for wrong in (2.0, float("nan"), "x", None, [0.5, -7], [[0.5], []]):
            with pytest.raises(UserError, match="similarity must be cosines"):
                function(wrong)
    for prior in (0, 1, float("nan"), "0.5", None):
        with pytest.raises(UserError, match="prior="):
            found.probability(0.5, prior=prior)
