"""The exact ROC curve: golden values, a naive loop over pairs, scikit-learn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_cases import golden, people, random_data
from sklearn.metrics import roc_auc_score, roc_curve

from reidlab.errors import UserError
from reidlab.retrieval import verification
from reidlab.retrieval.confidence import drawn_times
from reidlab.retrieval.roc import RATES


def pairs(data: dict[str, Any], metric: str = "cosine") -> tuple[np.ndarray, np.ndarray]:
    """Return distances and whether one person is shown, of all valid pairs, by a double loop."""
    distances, same = [], []
    for q, pid, cam in zip(data["query"], data["query_pids"], data["query_camids"]):
        for g, other, camera in zip(data["gallery"], data["gallery_pids"], data["gallery_camids"]):
            if other == -1 or (other == pid and camera == cam):
                continue
            cosine = q @ g / np.sqrt((q @ q) * (g @ g))
            distances.append(1 - cosine if metric == "cosine" else np.sqrt(((q - g) ** 2).sum()))
            same.append(other == pid)
    return np.array(distances), np.array(same)


def naive_eer(distances: np.ndarray, same: np.ndarray) -> float:
    """Return where the polygon through all thresholds crosses the line of equal errors."""
    limits = np.unique(distances)
    corners = [
        (0.0, 1.0),
        *(((distances[~same] <= limit).mean(), (distances[same] > limit).mean()) for limit in limits),
    ]
    for (f0, m0), (f1, m1) in pairwise(corners):
        if f1 >= m1:
            part = (m0 - f0) / ((m0 - f0) + (f1 - m1))
            return float(f0 + part * (f1 - f0))
    raise AssertionError


def test_golden() -> None:
    found = verification(**golden())
    assert (found.n_same, found.n_different) == (18, 120)
    assert found.auc == pytest.approx(0.9375, abs=1e-12)
    assert found.tpr_at(0.05) == pytest.approx(0.777778, abs=1e-6)
    assert found.tpr_at(0.1) == pytest.approx(0.833333, abs=1e-6)
    assert found.tpr_at(0.0) == 0 and np.isnan(found.threshold_at(0.0)) and found.tpr_at(1) == 1
    assert found.to_frame((0.01, 0.05))["false_positives"].tolist() == [1, 6]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_against_loops_and_scikit_learn(seed: int, grid: bool, metric: str) -> None:
    """On the grid many distances are equal, among them those of right and wrong pairs."""
    data = random_data(seed, grid=grid)
    for name in ("query", "gallery"):  # a cosine of zeros is none
        data[name][~data[name].any(axis=1)] = 1
    distances, same = pairs(data, metric)
    distances = np.round(distances, 9)  # the loop rounds otherwise in the last bits, which would break ties
    found = verification(**data, metric=metric)
    rounded = found.distances.round(9)
    assert (found.n_same, found.n_different) == (same.sum(), (~same).sum())
    assert found.auc == pytest.approx(roc_auc_score(same, -distances), abs=1e-9 if not grid else 1e-3)
    if not grid:
        assert found.eer == pytest.approx(naive_eer(distances, same), abs=1e-9)
        np.testing.assert_array_equal(rounded, np.unique(distances[same]))
        fpr, tpr, _ = roc_curve(same, -distances, drop_intermediate=False)
        for rate in (0.0, 0.01, 0.05, 0.1, 0.37, 1.0):
            assert found.tpr_at(rate) == pytest.approx(tpr[fpr <= rate + 1e-12].max(), abs=1e-12)


def test_equal_vectors_tie() -> None:
    """Of two equal images of two people neither is nearer: a half, and a slope instead of a step."""
    vectors = np.array([[1.0, 0], [1, 0]])
    labels = {"query_pids": [1], "gallery_pids": [1, 2]}
    found = verification(vectors[:1], vectors, **labels)
    assert found.auc == 0.5 and found.eer == 0.5 and found.tpr_at(0.5) == 0 and found.tpr_at(1) == 1
    apart = verification(vectors[:1], np.array([[1.0, 0], [0, 1]]), **labels)
    assert apart.auc == 1 and apart.eer == 0 and apart.tpr_at(0) == 1 and apart.threshold_at(0) == 0
    wrong = verification(vectors[:1], np.array([[0.0, 1], [1, 0]]), **labels)
    assert wrong.auc == 0 and wrong.eer == 1


@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=30))
@settings(deadline=None, max_examples=60)
def test_ties_by_counting(seed: int, marks: list[tuple[int, bool]]) -> None:
    """Whole distances on a line, so that nothing is rounded."""
    values, same = np.array([value for value, _ in marks]), np.array([kind for _, kind in marks])
    if same.all() or not same.any():
        return
    gallery = np.stack([values, np.zeros(len(values))], axis=1).astype(float)
    found = verification(
        np.zeros((1, 2)), gallery, query_pids=[1], gallery_pids=np.where(same, 1, 2), metric="euclidean"
    )
    wins = (values[same][:, None] < values[~same]).mean() + (values[same][:, None] == values[~same]).mean() / 2
    assert found.auc == pytest.approx(wins, abs=1e-12) and found.eer == pytest.approx(
        naive_eer(values, same), abs=1e-12
    )
    rate = np.random.default_rng(seed).random()
    best = max([0.0, *((values[same] <= t).mean() for t in range(10) if (values[~same] <= t).mean() <= rate)])
    assert found.tpr_at(rate) == pytest.approx(best, abs=1e-12)


def test_blocks_change_nothing() -> None:
    data = random_data(0, n_query=40)
    one, many = verification(**data), verification(**data, block_mib=1e-6)
    np.testing.assert_allclose(one.distances, many.distances, atol=1e-12)
    for name in ("same", "different", "tied"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


def test_the_query_itself_is_no_pair() -> None:
    side = people(6, 4)
    found = verification(side, side)
    pids, cams = side.pids, side.camids
    valid = (pids[:, None] == pids) & (np.asarray(cams)[:, None] != cams)
    assert found.n_same == valid.sum() and found.n_different == (pids[:, None] != pids).sum()
    labels = {"query_pids": pids, "gallery_pids": pids}
    assert verification(side.vectors, side.vectors, **labels).n_same == (pids[:, None] == pids).sum()


def test_shown() -> None:
    found = verification(**golden())
    assert "AUC 0.9375" in repr(found) and "<table" in found._repr_html_()
    curve = found.curve()
    assert (curve[["fpr", "tpr"]].diff().iloc[1:] >= 0).all(axis=None) and curve["tpr"].iloc[-1] == 1


def test_mistakes() -> None:
    data = golden()
    with pytest.raises(UserError, match="no valid pair of one person"):
        verification(**data | {"query_pids": np.full(6, 77)})
    with pytest.raises(UserError, match="no pair of different people"):
        verification(**data | {"query_pids": np.full(6, 1), "gallery_pids": np.full(24, 1)})
    with pytest.raises(UserError, match="block_mib=0"):
        verification(**data, block_mib=0)
    found = verification(**data)
    for rate in (-0.1, 1.1, float("nan"), None, "0.1"):
        with pytest.raises(UserError, match="fpr="):
            found.tpr_at(rate)  # type: ignore[arg-type]


def whose(data: dict[str, Any]) -> np.ndarray:
    """Return the query's identity of each pair of `pairs`, by the same loop."""
    return np.array(
        [
            pid
            for pid, cam in zip(data["query_pids"], data["query_camids"])
            for other, camera in zip(data["gallery_pids"], data["gallery_camids"])
            if other != -1 and not (other == pid and camera == cam)
        ]
    )


def naive_measures(distances: np.ndarray, same: np.ndarray, weight: np.ndarray) -> list[float]:
    """Return AUC and TPR at `RATES` where each pair counts `weight` times: every threshold is tried."""
    near, far = distances[same], distances[~same]
    wins = (near[:, None] < far) + (near[:, None] == far) / 2
    auc = weight[same] @ wins @ weight[~same] / (weight[same].sum() * weight[~same].sum())
    found = [float(auc)]
    for rate in RATES:
        best = 0.0
        for limit in np.unique(near):
            if weight[~same & (distances <= limit)].sum() <= rate * weight[~same].sum():
                best = max(best, float(weight[same & (distances <= limit)].sum() / weight[same].sum()))
        found.append(best)
    return found


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_intervals_against_loops(seed: int, grid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each draw weighs the pairs of a query by how often its identity was drawn; the loop takes them one by one."""
    data = random_data(seed, grid=grid)
    for name in ("query", "gallery"):
        data[name][~data[name].any(axis=1)] = 1
    found = verification(**data, bootstrap=40, seed=seed, metric="euclidean")
    distances, same = pairs(data, "euclidean")
    distances, people_of = np.round(distances, 9), whose(data)
    names = list(dict.fromkeys(data["query_pids"].tolist()))  # identities are drawn in the order of the queries
    who = np.array([names.index(pid) for pid in people_of])
    drawn = []
    for times in np.concatenate(list(drawn_times(len(names), 40, seed))):
        weight = times[who].astype(float)
        if weight[same].sum() and weight[~same].sum():
            drawn.append(naive_measures(distances, same, weight))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert found.auc == verification(**data, metric="euclidean").auc and found.bootstrap == 40
    monkeypatch.setattr("reidlab.retrieval.roc_intervals.MOST_BINS", 60)
    coarse = verification(**data, bootstrap=40, seed=seed, metric="euclidean")
    for at, key in enumerate(["auc", *(f"tpr@{rate:g}" for rate in RATES)]):
        if np.max(drawn, axis=0)[at] > 0:  # where all are 0 the interval has a width all the same
            assert found.intervals[key] == pytest.approx((low[at], high[at]), abs=1e-9), key
            assert coarse.intervals[key] == pytest.approx((low[at], high[at]), abs=0.01), key


def test_one_mistake_among_many_pairs_is_not_lost_in_a_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 600 people one is far from its image: in some draws it is there several times, in others not at all."""
    monkeypatch.setattr("reidlab.retrieval.roc_intervals.MOST_BINS", 40)
    names = np.arange(600)
    gallery = np.stack([10.0 * names, np.zeros(600)], axis=1)
    query = gallery + np.stack([np.zeros(600), np.linspace(1, 2, 600)], axis=1)
    query[17, 0] += 505
    found = verification(query, gallery, query_pids=names, gallery_pids=names, metric="euclidean", bootstrap=200)
    times = np.concatenate(list(drawn_times(600, 200, 0)))[:, 17]
    wanted = np.quantile(1 - times / 600, [0.025, 0.975])
    for rate in RATES[1:]:
        assert found.tpr_at(rate) == pytest.approx(599 / 600)
        assert found.interval(rate) == pytest.approx(tuple(wanted), abs=1e-9)


def test_intervals_are_those_of_their_seed_and_need_draws() -> None:
    data = golden()
    one, again, other = (verification(**data, bootstrap=200, seed=seed) for seed in (1, 1, 2))
    assert one.intervals == again.intervals != other.intervals
    low, high = one.interval()
    assert 0 < low < one.auc < high <= 1
    frame = one.measures()
    assert frame["measure"].tolist()[:2] == ["AUC", "TPR at FPR 0.0001"]
    assert frame.loc[0, ["value", "low", "high"]].tolist() == [one.auc, low, high]
    assert one.to_frame()["low"].tolist() == [one.interval(rate)[0] for rate in RATES]
    assert one.to_frame((0.5,))[["low", "high"]].isna().all(axis=None)
    none = verification(**data)
    assert none.intervals == {} and none.measures()[["low", "high"]].isna().all(axis=None)
    assert "low" in one._repr_html_() and "low" not in none._repr_html_()


def test_an_interval_without_a_mistake_has_a_width() -> None:
    """Of 3 people without a mistake the low end is that of Clopper and Pearson: 0.025 ** (1 / 3)."""
    vectors = np.eye(3)
    found = verification(vectors, vectors, query_pids=[1, 2, 3], gallery_pids=[1, 2, 3], bootstrap=50)
    assert found.auc == 1 and found.interval() == pytest.approx((0.025 ** (1 / 3), 1))
    assert found.interval(1e-4) == pytest.approx((0.025 ** (1 / 3), 1))
    wrong = verification(vectors, vectors, query_pids=[1, 2, 3], gallery_pids=[2, 3, 1], bootstrap=50)
    assert wrong.tpr_at(1e-4) == 0 and wrong.interval(1e-4) == pytest.approx((0, 1 - 0.025 ** (1 / 3)))


def test_a_person_without_a_match_counts_as_a_wrong_one() -> None:
    """A draw of that person alone has no pair of one person, and is left out."""
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    found = verification(vectors[:2], vectors[2:], query_pids=[1, 2], gallery_pids=[1] * 3 + [3] * 7, bootstrap=60)
    assert all(0 <= low <= high <= 1 for low, high in found.intervals.values())


@pytest.mark.parametrize("options", [{"bootstrap": -1}, {"bootstrap": 1.5}, {"bootstrap": 1, "seed": -1}])
def test_mistaken_draws(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(reversed(options))):
        verification(**golden(), **options)
