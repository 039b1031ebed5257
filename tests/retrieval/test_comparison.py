"""Differences between two results: the paired interval and the permutation test, against loops and by their error rates."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reidlab.errors import UserError
from reidlab.retrieval import RetrievalResult, compare_results, over_seeds


def result(ap: Any, pids: Any, **changes: Any) -> RetrievalResult:
    """A result of queries with these APs; the first match is at rank 1 where the AP is above a half, else at 3."""
    ap = np.asarray(ap, float)
    valid = changes.pop("valid", np.ones(len(ap), bool))
    frame = pd.DataFrame({
        "query": np.arange(len(ap)), "pid": pids, "camid": np.arange(len(ap)) % 3, "valid": valid,
        "first_rank": np.where(ap > 0.5, 1, 3), "ap": np.where(valid, ap, np.nan), "inp": np.where(valid, ap / 2, np.nan),
    })  # fmt: skip
    good = frame[frame["valid"]]
    cmc = [float((good["first_rank"] <= k).mean()) for k in range(1, 11)]
    options: dict[str, Any] = {"metric": "cosine", "ap": "plain", "rule": "official", "n_gallery": 100} | changes
    return RetrievalResult(float(good["ap"].mean()), float(good["inp"].mean()), np.array(cmc), frame, **options)


def two(seed: int = 0, n_people: int = 40, shift: float = 0.0) -> tuple[RetrievalResult, RetrievalResult]:
    """Results whose APs differ at random for each identity, and by `shift` for all."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(n_people), 3)
    base, move = rng.uniform(0.3, 0.7, n_people)[pids], rng.normal(0, 0.1, n_people)[pids]
    noise = rng.normal(0, 0.02, (2, len(pids)))
    return tuple(  # type: ignore[return-value]
        result(np.clip(base + sign * move + noise[at] + at * shift, 0, 1), pids) for at, sign in enumerate((-0.5, 0.5))
    )


def test_values_and_differences() -> None:
    a, b = two(shift=0.05)
    found = compare_results(a, b, draws=500, names=("old", "new"))
    frame = found.to_frame().set_index("measure")
    assert frame.index.tolist() == ["rank1", "mAP", "mINP"]
    assert frame["old"].tolist() == pytest.approx([a.rank1, a.mean_ap, a.mean_inp])
    assert frame["new"].tolist() == pytest.approx([b.rank1, b.mean_ap, b.mean_inp])
    assert frame["difference"].tolist() == pytest.approx((frame["new"] - frame["old"]).tolist())
    assert ((frame["low"] <= frame["difference"]) & (frame["difference"] <= frame["high"])).all()
    other = compare_results(b, a, draws=500, names=("new", "old")).to_frame().set_index("measure")
    assert other["difference"].tolist() == pytest.approx((-frame["difference"]).tolist())
    assert other["p"].tolist() == frame["p"].tolist() and other["low"].tolist() == pytest.approx(
        (-frame["high"]).tolist()
    )


def test_all_changes_of_sign_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    pids = np.array([3, 3, 3, 1, 1, 7, 9, 9, 2, 2, 2, 5])
    a, b = result(rng.random(12), pids), result(rng.random(12), pids)
    change = b.per_query["ap"].to_numpy() - a.per_query["ap"].to_numpy()
    people = np.unique(pids)
    means = []
    for signs in product((-1, 1), repeat=len(people)):
        flipped = change.copy()
        for pid, sign in zip(people, signs):
            flipped[pids == pid] *= sign
        means.append(flipped.mean())
    want = np.mean(np.abs(means) >= abs(change.mean()) - 1e-12)
    found = compare_results(a, b, draws=64).to_frame().set_index("measure")
    assert found.loc["mAP", "p"] == pytest.approx(want, abs=1e-12)
    drawn = compare_results(a, b, draws=63, seed=1).to_frame().set_index("measure")
    assert drawn.loc["mAP", "p"] == pytest.approx(want, abs=0.2) and drawn.loc["mAP", "p"] != want


def test_interval_against_a_loop_over_identities() -> None:
    a, b = two(n_people=12)
    change = (b.per_query["ap"] - a.per_query["ap"]).to_numpy()
    pids, rng = a.per_query["pid"].to_numpy(), np.random.default_rng(7)
    means = [np.concatenate([change[pids == pid] for pid in rng.integers(0, 12, 12)]).mean() for _ in range(4000)]
    row = compare_results(a, b, draws=4000).to_frame().set_index("measure").loc["mAP"]
    assert (row["low"], row["high"]) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.004)


def test_error_rates() -> None:
    """Of two runs that are alike about one in twenty is called different; a clear difference is found."""
    alike = [not compare_results(*two(seed), draws=400).to_frame()["noise"].iloc[1] for seed in range(100)]
    apart = [not compare_results(*two(seed, shift=0.08), draws=400).to_frame()["noise"].iloc[1] for seed in range(40)]
    assert 0 <= sum(alike) <= 12 and sum(apart) >= 36


def test_identities_count_not_queries() -> None:
    """Ten images of each of five people who all got better by chance are five facts, not fifty."""
    pids = np.repeat(np.arange(5), 10)
    change = np.repeat([0.1, 0.08, -0.06, 0.09, 0.05], 10)
    a, b = result(np.full(50, 0.5), pids), result(0.5 + change, pids)
    found = compare_results(a, b).to_frame().set_index("measure").loc["mAP"]
    single = compare_results(result(np.full(50, 0.5), np.arange(50)), result(0.5 + change, np.arange(50)))
    assert found["p"] > 0.05 and found["noise"] and single.to_frame()["p"].iloc[1] < 0.001


def test_nothing_differs() -> None:
    a, _ = two()
    found = compare_results(a, a, draws=100)
    assert found.to_frame()["p"].tolist() == [1, 1, 1] and found.to_frame()["noise"].all()
    assert found.to_frame()[["difference", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]] * 3
    assert "mAP of b is that of a (+0.00 to +0.00, p 1): noise" in found.sentence()


def test_shown_and_seeded() -> None:
    a, b = two(shift=0.1)
    found = compare_results(a, b, draws=2000, names=("old <b>", "new"))
    assert "mAP of new is 1" in found.sentence() and "more than chance" in found.sentence()
    assert "old &lt;b&gt;" in found._repr_html_() and "<b>" not in found._repr_html_() and "Comparison(" in repr(found)
    again = compare_results(a, b, draws=2000, names=("old <b>", "new"))
    pd.testing.assert_frame_equal(found.to_frame(), again.to_frame())
    noise = compare_results(*two(n_people=8), draws=50)
    assert "noise" in noise.sentence() and "fewer than 30 identities" in noise.sentence()


def test_queries_without_a_match_are_left_out() -> None:
    valid = np.array([True, True, False, True])
    a, b = (result([0.1, 0.6, 0.3, ap], [1, 2, 3, 4], valid=valid) for ap in (0.2, 0.9))
    found = compare_results(a, b, draws=20)
    assert (found.n_query, found.n_identities) == (3, 3)
    assert found.to_frame()["difference"].iloc[1] == pytest.approx(0.7 / 3)


def test_what_cannot_be_compared() -> None:
    a, b = two()
    pids = a.per_query["pid"].to_numpy()
    short = result(np.full(4, 0.5), [1, 2, 3, 4])
    other = result(np.full(120, 0.5), pids[::-1])
    nameless = replace(a, per_query=a.per_query.drop(columns="pid"))
    blind = replace(a, per_query=a.per_query.drop(columns="camid"))
    cases: list[tuple[Any, str]] = [
        (short, "a has 120 queries and b 4"),
        (other, "not of the same queries: query 0 has pid 0 and 39"),
        (result(np.full(120, 0.5), pids, valid=np.arange(120) > 0), "query 0 has valid True and False"),
        (replace(b, rule="no_camera"), "differ in their camera rule: official and no_camera"),
        (replace(b, ap="trapezoid"), "form of AP: plain and trapezoid"),
        (replace(b, n_gallery=7), "number of gallery images: 100 and 7"),
        (nameless, "b does not say who its queries are"),
        (blind, "Only one of a and b knows the cameras"),
        ("result", "b must be a RetrievalResult"),
    ]
    for given, words in cases:
        with pytest.raises(UserError, match=words):
            compare_results(a, given)
    for options in ({"draws": 0}, {"draws": 10**9}, {"seed": -1}):
        with pytest.raises(UserError, match=next(iter(options))):
            compare_results(a, b, **options)
    for names in (("x",), ("x", "x"), ("x", ""), ("x", 3), "ab", ("low", "x")):
        with pytest.raises(UserError, match="names="):
            compare_results(a, b, names=names)  # type: ignore[arg-type]


def test_over_seeds() -> None:
    pids = np.repeat(np.arange(35), 2)
    rng = np.random.default_rng(0)
    runs = [result(np.clip(0.5 + 0.01 * seed + rng.normal(0, 0.1, 70), 0, 1), pids) for seed in range(3)]
    found = over_seeds(runs, draws=500)
    frame = found.to_frame().set_index("measure")
    assert frame.index.tolist() == ["rank1", "rank5", "rank10", "mAP", "mINP"]
    scores = np.array([run.mean_ap for run in runs])
    row = frame.loc["mAP"]
    assert row["mean"] == pytest.approx(scores.mean()) and row["std"] == pytest.approx(scores.std(ddof=1))
    reach = 4.302653 * scores.std(ddof=1) / np.sqrt(3)  # Student's t with two degrees of freedom
    assert (row["seeds_low"], row["seeds_high"]) == pytest.approx((scores.mean() - reach, scores.mean() + reach))
    averaged = result(np.mean([run.per_query["ap"] for run in runs], axis=0), pids)
    alone = over_seeds([averaged], draws=500).to_frame().set_index("measure").loc["mAP"]
    assert alone[["identities_low", "identities_high"]].tolist() == pytest.approx(
        row[["identities_low", "identities_high"]].tolist()
    )
    assert "3 seeds, 70 queries of 35 identities" in found.sentence() and "<table>" in found._repr_html_()
    assert over_seeds({"one": runs[0], "two": runs[1]}).n_seeds == 2


def test_one_seed_has_no_spread() -> None:
    found = over_seeds([two()[0]], draws=50)
    assert found.to_frame()[["std", "seeds_low", "seeds_high"]].isna().all(axis=None)
    assert (
        "One seed has no spread" in found.sentence() and "± unknown" in repr(found) and "nan" not in found._repr_html_()
    )


def test_over_seeds_mistakes() -> None:
    a, _ = two()
    for given in ([], a, None, "runs"):
        with pytest.raises(UserError, match="results must be a list of RetrievalResult"):
            over_seeds(given)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="result 1 must be a RetrievalResult"):
        over_seeds([a, 3])  # type: ignore[list-item]
    with pytest.raises(UserError, match="result 0 has 120 queries and result 1 4"):
        over_seeds([a, result(np.full(4, 0.5), [1, 2, 3, 4])])
    with pytest.raises(UserError, match="draws=0"):
        over_seeds([a], draws=0)
