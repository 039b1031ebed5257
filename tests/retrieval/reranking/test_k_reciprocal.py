"""k-reciprocal re-ranking: golden values of the published code, a naive loop, and what changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reranking_cases import k_reciprocal, units
from retrieval_cases import golden, random_data

from reidlab.errors import UserError
from reidlab.retrieval import evaluate, matching, ranking, rerank
from reidlab.retrieval.reranking import k_reciprocal as k_reciprocal_module
from reidlab.retrieval.reranking import neighbours

GOLDEN = [
    ({"k1": 4, "k2": 2}, [0.292996, 0.992935, 0.968071, 0.898529], 116.1335, 0.826587, 0.863095),
    ({}, [0.170194, 0.573300, 0.552437, 0.475529], None, 0.746693, 0.726190),
    ({"k1": 6, "k2": 3, "distance": "cosine"}, None, None, 0.791336, 0.770833),
]


@pytest.mark.parametrize(("options", "first", "total", "mean_ap", "mean_inp"), GOLDEN)
def test_golden_values(
    options: dict[str, Any], first: list[float] | None, total: float | None, mean_ap: float, mean_inp: float
) -> None:
    data = golden()
    distances = rerank(data["query"], data["gallery"], **options)
    if first is not None:
        np.testing.assert_allclose(distances[0, :4], first, atol=1e-6)
    if total is not None:
        assert distances.dense().sum() == pytest.approx(total, abs=1e-4)
    for way in ({"rerank": "k_reciprocal", "rerank_options": options}, {"rerank": distances}):
        result = evaluate(**data, **way)
        assert (result.mean_ap, result.mean_inp) == pytest.approx((mean_ap, mean_inp), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (5, 1), (3, 3), (1, 1), (7, 2)])
def test_naive_loop(k1: int, k2: int, distance: str, dtype: type) -> None:
    data = random_data(k1, n_query=9, n_gallery=70)
    query, gallery = data["query"].astype(dtype), data["gallery"].astype(dtype)
    expected = k_reciprocal(
        units(query), units(gallery), k1=k1, k2=k2, lambda_value=0.4, power=2 if distance == "cosine" else 1
    )
    found = rerank(query, gallery, k1=k1, k2=k2, lambda_value=0.4, distance=distance)
    assert found.dtype == dtype and found.shape == (9, 70) == found.dense().shape
    np.testing.assert_allclose(found.dense(), expected, atol=1e-6 if dtype == np.float32 else 1e-12)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 25), st.integers(1, 3), st.integers(1, 30), st.integers(1, 9),
    st.floats(0, 1), st.integers(0, 10**6),
)  # fmt: skip
def test_ties_equal_images_and_any_size(
    n_query: int, n_gallery: int, dim: int, k1: int, k2: int, lambda_value: float, seed: int
) -> None:
    draw = np.random.default_rng(seed).integers(-2, 3, (n_query + n_gallery, dim)).astype(float)
    query, gallery = draw[:n_query], draw[n_query:]
    found = rerank(
        query, gallery, metric="euclidean", k1=k1, k2=k2, lambda_value=lambda_value, normalize=False, block_mib=1e-4
    )
    expected = k_reciprocal(query, gallery, k1=k1, k2=k2, lambda_value=lambda_value)
    np.testing.assert_allclose(found.dense(), expected, atol=1e-12)
    assert (found.dense() > -1e-12).all() and (found.dense() < 1 + 1e-12).all()


def test_more_equal_images_than_neighbours() -> None:
    """The image itself may not be among its own first neighbours: no weight, Jaccard distance 1, and no NaN."""
    gallery = np.repeat(np.array([[1.0, 0.0], [0.6, 0.8]]), 12, axis=0)
    found = rerank(gallery[:1], gallery, k1=2, k2=1).dense()
    np.testing.assert_allclose(found, k_reciprocal(gallery[:1], gallery, k1=2, k2=1), atol=1e-12)
    same = rerank(gallery[:2], gallery[:5])
    np.testing.assert_allclose(same.dense(), k_reciprocal(gallery[:2], gallery[:5]), atol=1e-12)


def test_the_block_size_changes_nothing() -> None:
    data = random_data(3, n_query=40, n_gallery=300, dim=8)
    one = rerank(data["query"], data["gallery"])
    small = rerank(data["query"], data["gallery"], block_mib=0.01)
    np.testing.assert_allclose(one.dense(), small.dense(), atol=1e-12)
    rows = [block for _, block in one.blocks(0.01)]
    assert len(rows) == 10 and np.allclose(np.concatenate(rows), one.dense(), atol=1e-12)


def test_lambda_one_is_the_plain_ranking() -> None:
    data = random_data(5)
    plain = evaluate(**data)
    found = evaluate(**data, rerank="k_reciprocal", rerank_options={"lambda_value": 1.0})
    assert found.mean_ap == pytest.approx(plain.mean_ap) and found.mean_inp == pytest.approx(plain.mean_inp)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("options", [{}, {"top": 20}, {"k1": 3, "k2": 1, "lambda_value": 0.0}])
def test_compiled_and_plain_ways_agree(options: dict[str, Any], distance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_data(23, n_query=80, n_gallery=700, dim=5)
    plain = rerank(data["query"], data["gallery"], distance=distance, **options).dense()
    for module in (k_reciprocal_module, neighbours):
        monkeypatch.setattr(module, "LARGE", 0)
    compiled = rerank(data["query"], data["gallery"], distance=distance, **options)
    np.testing.assert_allclose(compiled.dense(), plain, atol=1e-12)
    np.testing.assert_allclose(compiled.rows(np.arange(70)), plain[:70], atol=1e-12)


def test_without_numba_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_data(29)
    expected = rerank(data["query"], data["gallery"]).dense()
    for module, name in ((k_reciprocal_module, "compiled_mixer"), (neighbours, "compiled_keeper")):
        monkeypatch.setattr(module, "LARGE", 0)
        monkeypatch.setattr(module, name, lambda: None)
    np.testing.assert_array_equal(rerank(data["query"], data["gallery"]).dense(), expected)


@pytest.mark.parametrize("at", [[2, 1, 4], [3, 3, 5], [0], slice(0, 0), [5, 4, 3]])
def test_rows_in_any_order(at: Any) -> None:
    data = random_data(31)
    found = rerank(data["query"], data["gallery"])
    np.testing.assert_allclose(found[at], found.dense()[at], atol=1e-12)


@pytest.mark.parametrize("rule", matching.RULES)
def test_compiled_counting_and_sorting_agree(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_data(7, grid=True, dim=6)
    data["query"] += 0.5
    data["gallery"] += 0.5
    how: dict[str, Any] = {"rerank": "k_reciprocal", "rule": rule}
    sorting = evaluate(**data, **how)
    monkeypatch.setattr(ranking, "LARGE", 0)
    compiled = evaluate(**data, **how)
    assert sorting.per_query.equals(compiled.per_query)


def test_junk_plays_no_part() -> None:
    data = random_data(11)
    junk = data["gallery_pids"] == -1
    assert junk.any()
    without = {name: value[~junk] if name.startswith("gallery") else value for name, value in data.items()}
    by_name = evaluate(**data, rerank="k_reciprocal")
    assert by_name.n_junk == junk.sum()
    assert by_name.mean_ap == evaluate(**without, rerank="k_reciprocal").mean_ap
    with_junk = rerank(data["query"], data["gallery"])
    order = np.flatnonzero(~junk)
    expected = evaluate(**without, rerank=with_junk.dense()[:, order])
    assert evaluate(**data, rerank=with_junk).per_query.equals(expected.per_query)


def test_top_leaves_the_others_in_their_order() -> None:
    data = random_data(13, n_query=6, n_gallery=90)
    query, gallery = units(data["query"]), units(data["gallery"])
    plain = 2 - 2 * query @ gallery.T
    found = rerank(query, gallery, top=15, k1=5, k2=2).dense()
    for row, near in zip(found, plain):
        order = np.argsort(near)
        assert row[order[:15]].max() <= row[order[15:]].min()
        assert (np.diff(row[order[15:]]) >= -1e-12).all()
    whole = rerank(query, gallery, k1=5, k2=2).dense()
    np.testing.assert_allclose(rerank(query, gallery, top=90, k1=5, k2=2).dense(), whole, atol=1e-12)
    np.testing.assert_allclose(rerank(query, gallery, top=10**6, k1=5, k2=2).dense(), whole, atol=1e-12)


def test_top_of_a_single_query_is_re_ranking_of_its_nearest_alone() -> None:
    data = random_data(17, n_query=1, n_gallery=90)
    query, gallery = units(data["query"]), units(data["gallery"])
    nearest = np.sort(np.argsort(-(query @ gallery.T)[0])[:20])
    found = rerank(query, gallery, top=20, k1=5, k2=2).dense()
    np.testing.assert_allclose(found[:, nearest], k_reciprocal(query, gallery[nearest], k1=5, k2=2), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k1": 0}, "k1=0 must be a whole number from 1"),
        ({"k2": 0}, "k2=0 must be a whole number from 1"),
        ({"k1": 2.5}, "option k1=2.5 must be a whole number"),
        ({"k1": True}, "option k1=True must be a whole number"),
        ({"lambda_value": 1.5}, "lambda_value=1.5 must be a number from 0 to 1"),
        ({"lambda_value": float("nan")}, "lambda_value=nan must be a number"),
        ({"distance": "manhattan"}, "distance='manhattan' must be 'euclidean' or 'cosine'"),
        ({"top": 0}, "top=0 must be a whole number from 1"),
        ({"k3": 1}, "has no option 'k3'.*Did you mean"),
        ({"block_mib": -1}, "block_mib=-1 must be a number above 0"),
    ],
)
def test_options_are_checked(options: dict[str, Any], said: str) -> None:
    data = golden()
    with pytest.raises(UserError, match=said):
        rerank(data["query"], data["gallery"], **options)


def test_vectors_without_a_direction_are_refused() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(UserError, match="gallery row 1 is all zeros"):
        rerank(vectors[:1], vectors, metric="euclidean")
    assert rerank(vectors[:1], vectors, metric="euclidean", normalize=False).dense().shape == (1, 2)
    with pytest.raises(UserError, match="query has NaN"):
        rerank(vectors * np.nan, vectors)
