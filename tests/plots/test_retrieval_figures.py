"""CMC curves, distance histograms and rankings; the pairs that a histogram is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from plot_cases import check_axes, check_figure, people

from reidlab.errors import UserError
from reidlab.plots.galleries import choose_queries, ranking_figure
from reidlab.plots.retrieval import cmc_curve, distance_histogram, score_bars
from reidlab.plots.style import describe
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.pairs import sample_pairs
from reidlab.retrieval.top import rank_gallery


def data(n_query: int = 12, n_gallery: int = 60) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "query": rng.normal(size=(n_query, 4)), "query_pids": np.arange(n_query) % 6,
        "query_camids": rng.integers(0, 3, n_query), "gallery": rng.normal(size=(n_gallery, 4)),
        "gallery_pids": np.arange(n_gallery) % 8 - 1, "gallery_camids": rng.integers(0, 3, n_gallery),
    }  # fmt: skip


def test_cmc() -> None:
    one, two = evaluate(**data(), bootstrap=30), evaluate(**data(), rule="no_camera")
    ax = cmc_curve({"a": one, "b": two})
    check_axes(ax)
    assert [text.get_text()[:2] for text in ax.get_legend().get_texts()] == ["a:", "b:"]
    check_axes(cmc_curve(two, max_rank=3))
    check_axes(cmc_curve(evaluate(**data(), max_rank=80), max_rank=80))
    for bad in ({"results": {}}, {"results": one, "max_rank": 0}):
        with pytest.raises(UserError):
            cmc_curve(**bad)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_pairs_obey_the_protocol(metric: str) -> None:
    given = data()
    pairs = sample_pairs(**given, metric=metric, count=100, seed=1)
    q, g = pairs["query"].to_numpy(), pairs["gallery"].to_numpy()
    same_pid = given["query_pids"][q] == given["gallery_pids"][g]
    np.testing.assert_array_equal(pairs["same"], same_pid)
    assert not (same_pid & (given["query_camids"][q] == given["gallery_camids"][g])).any()
    assert (given["gallery_pids"][g] != -1).all()
    a, b = given["query"][q], given["gallery"][g]
    cosine = 1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    want = cosine if metric == "cosine" else np.linalg.norm(a - b, axis=1)
    np.testing.assert_allclose(pairs["distance"], want, atol=1e-9)
    n_same = int((~pairs[pairs["same"]].duplicated(["query", "gallery"])).sum())
    assert n_same == pairs["same"].sum() <= 100 and (~pairs["same"]).sum() == 100
    pd.testing.assert_frame_equal(pairs, sample_pairs(**given, metric=metric, count=100, seed=1))


def test_pairs_of_different_identities_are_found_however_few_there_are() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 4))
    gallery_pids = np.where(np.arange(400) == 77, 2, 1)
    given = {"query": vectors[:3], "query_pids": [1, 1, 1], "gallery": vectors, "gallery_pids": gallery_pids}
    for seed in range(20):
        pairs = sample_pairs(**given, count=5, seed=seed)
        assert sorted(pairs.loc[~pairs["same"], "query"]) == [0, 1, 2], "three pairs, each once"
        assert (pairs.loc[~pairs["same"], "gallery"] == 77).all()


def test_pairs_of_different_identities_are_alike_likely() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    query_pids, gallery_pids = np.array([1, 2, 3]), np.array([1, 2, 1, 1, 2, 4])
    given = {"query": vectors[:3], "query_pids": query_pids, "gallery": vectors, "gallery_pids": gallery_pids}
    every = sample_pairs(**given, count=26_000)
    n_pairs = int((query_pids[:, None] != gallery_pids).sum())
    assert (~every["same"]).sum() == n_pairs == 13 and not every.duplicated(["query", "gallery"]).any()
    drawn = pd.concat([sample_pairs(**given, count=count, seed=seed) for count in (4, 9) for seed in range(1000)])
    times = drawn[~drawn["same"]].value_counts(["query", "gallery"])
    assert len(times) == 13 and times.between(890, 1110).all(), "13 pairs, 1,000 draws of each"


def test_no_pair_is_drawn_twice_among_many() -> None:
    rng = np.random.default_rng(0)
    pids = np.arange(300)
    vectors = rng.normal(size=(300, 4))
    given = {"query": vectors, "query_pids": pids, "gallery": vectors, "gallery_pids": pids}
    for count in (20_000, 44_000, 60_000):  # of 89,700
        other = sample_pairs(**given, count=count, seed=1).query("not same")
        assert len(other) == count and not other.duplicated(["query", "gallery"]).any()
        assert (other["query"] != other["gallery"]).all()


def test_pairs_of_one_kind_only() -> None:
    given = data() | {"gallery_pids": np.full(60, 3)}
    with pytest.raises(UserError, match="no valid pair of different"):
        sample_pairs(**(given | {"query_pids": np.full(12, 3)}))
    with pytest.raises(UserError, match="same identity"):
        sample_pairs(**(given | {"query_pids": np.full(12, 4)}))
    with pytest.raises(UserError, match="count=0"):
        sample_pairs(**data(), count=0)


def test_histogram() -> None:
    pairs = sample_pairs(**data(), count=200)
    before = pairs.copy()
    check_axes(distance_histogram(pairs, threshold=0.5))
    pd.testing.assert_frame_equal(pairs, before)
    apart = pd.DataFrame({"same": [True, False], "distance": [0.0, 1.0]})
    assert "overlap by 0.0 %" in describe(distance_histogram(apart))
    check_axes(distance_histogram(apart.assign(distance=0.0)))
    with pytest.raises(UserError, match="both kinds"):
        distance_histogram(apart[apart["same"]])


def test_choose_queries() -> None:
    result = evaluate(**data())
    ap = result.per_query["ap"].to_numpy()
    worst, best = choose_queries(result, "worst", 3), choose_queries(result, "best", 3)
    assert ap[worst].tolist() == sorted(ap)[:3] and ap[best].tolist() == sorted(ap)[::-1][:3]
    assert choose_queries(result, "random", 4, seed=1) == choose_queries(result, "random", 4, seed=1)
    assert len(choose_queries(result, "random", 999)) == 12
    for bad in ({"choose": "wrost"}, {"count": 0}):
        with pytest.raises(UserError):
            choose_queries(result, **bad)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("cameras", [True, False])
def test_ranking_figure(metric: str, cameras: bool) -> None:
    given = data()
    if not cameras:
        given |= {"query_camids": None, "gallery_camids": None}
    tables = [
        pd.DataFrame({"pid": given[f"{s}_pids"]} | ({"camid": given[f"{s}_camids"]} if cameras else {}))
        for s in ("query", "gallery")
    ]
    listing = rank_gallery(**given, queries=[2, 5], k=6, metric=metric)
    figure = ranking_figure(
        listing,
        *tables,
        query_images=people(12),
        gallery_images=people(60),
        result=evaluate(**given, metric=metric),
        title="Two",
    )
    check_figure(figure)
    assert len(figure.axes) == 14
    text = " ".join(ax.get_xlabel() for ax in figure.axes)
    assert ("cam" in text) == cameras and "AP" in text
    assert text.count("✓") == (listing["flag"] == "right").sum()
    assert text.count("✗") == (listing["flag"] == "wrong").sum()
    with pytest.raises(UserError, match="no rows"):
        ranking_figure(listing.iloc[:0], *tables, query_images=people(12), gallery_images=people(60))
    with pytest.raises(UserError, match="only 2 images"):
        ranking_figure(listing, *tables, query_images=people(2), gallery_images=people(60))


def test_score_bars() -> None:
    result = evaluate(**data(), bootstrap=50)
    ax = score_bars(result)
    check_axes(ax)
    heights = [patch.get_height() for patch in ax.patches]
    assert heights == pytest.approx([100 * value for value in result.scores().values()])
    assert f"mAP {100 * result.mean_ap:.1f} %" in describe(ax)
    check_axes(score_bars(evaluate(**data())))
