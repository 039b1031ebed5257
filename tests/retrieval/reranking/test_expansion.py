"""Query expansion, database-side augmentation and NFC: golden values and naive loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reranking_cases import squares, units
from retrieval_cases import golden, random_data

from reidlab.errors import UserError
from reidlab.retrieval import evaluate, refine_vectors, rerank

GOLDEN = [
    ("aqe", {"k": 3, "alpha": 3.0}, 0.815476, 0.821429),
    ("alpha_qe", {"k": 3}, 0.815476, 0.821429),
    ("alpha_qe", {"k": 5, "alpha": 3}, 0.826389, 0.854167),
    ("nfc", {}, 0.837037, None),
    ("nfc", {"k1": 2, "k2": 2}, 0.837037, None),
]


@pytest.mark.parametrize(("method", "options", "mean_ap", "mean_inp"), GOLDEN)
def test_golden_values(method: str, options: dict[str, Any], mean_ap: float, mean_inp: float | None) -> None:
    data = golden()
    by_name = evaluate(**data, rerank=method, rerank_options=options)
    query, gallery = refine_vectors(data["query"], data["gallery"], method=method, **options)
    by_vectors = evaluate(**{**data, "query": query, "gallery": gallery})
    by_distances = evaluate(**data, rerank=rerank(data["query"], data["gallery"], method=method, **options))
    for result in (by_name, by_vectors, by_distances):
        assert result.mean_ap == pytest.approx(mean_ap, abs=1e-6)
        assert mean_inp is None or result.mean_inp == pytest.approx(mean_inp, abs=1e-6)


def mean_of(own: np.ndarray, others: np.ndarray, k: int, alpha: float) -> np.ndarray:
    """The image and its k - 1 nearest others."""
    cosines = [float(own @ other) for other in others]
    order = sorted(range(len(others)), key=lambda at: -cosines[at])[: k - 1]
    total = own + sum((max(cosines[at], 0) ** alpha * others[at] for at in order), np.zeros_like(own))
    return total / np.linalg.norm(total)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 20), st.integers(1, 9), st.sampled_from([0.0, 1.0, 2.5, 3.0]), st.integers(0, 999)
)
def test_naive_loops(n_query: int, n_gallery: int, k: int, alpha: float, seed: int) -> None:
    data = random_data(seed, n_query=n_query, n_gallery=n_gallery)
    query, gallery = data["query"], data["gallery"]
    q, g = units(query), units(gallery)
    everything = np.concatenate([q, g])
    of_all = [mean_of(v, np.delete(everything, at, 0), k, alpha) for at, v in enumerate(everything)]
    found = refine_vectors(query, gallery, k=k, alpha=alpha)
    np.testing.assert_allclose(np.concatenate(found), of_all, atol=1e-9)
    new, same = refine_vectors(query, gallery, k=k, alpha=alpha, of="query")
    np.testing.assert_allclose(new, [mean_of(v, g, k, alpha) for v in q], atol=1e-9)
    np.testing.assert_allclose(same, g, atol=1e-12)
    same, new = refine_vectors(query, gallery, method="dba", k=k, alpha=alpha)
    np.testing.assert_allclose(new, [mean_of(v, np.delete(g, at, 0), k, alpha) for at, v in enumerate(g)], atol=1e-9)
    np.testing.assert_allclose(same, q, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 5), st.integers(1, 5), st.integers(0, 999))
def test_nfc_in_a_loop(n_query: int, n_gallery: int, k1: int, k2: int, seed: int) -> None:
    data = random_data(seed, n_query=n_query, n_gallery=n_gallery)
    vectors = units(np.concatenate([data["query"], data["gallery"]]))
    near = [[at for at in np.argsort(row, kind="stable") if at != i] for i, row in enumerate(squares(vectors))]
    expected = [
        vectors[i] + sum((vectors[j] for j in near[i][:k1] if i in near[j][:k2]), np.zeros(5))
        for i in range(len(vectors))
    ]
    found = refine_vectors(data["query"], data["gallery"], method="nfc", k1=k1, k2=k2)
    np.testing.assert_allclose(np.concatenate(found), units(expected), atol=1e-9)


def test_one_image_is_its_own_mean() -> None:
    data = random_data(1)
    for method in ("aqe", "alpha_qe", "dba"):
        query, gallery = refine_vectors(data["query"], data["gallery"], method=method, k=1)
        np.testing.assert_allclose(query, units(data["query"]), atol=1e-12)
        np.testing.assert_allclose(gallery, units(data["gallery"]), atol=1e-12)


def test_equal_images_stay_equal() -> None:
    vectors = np.repeat(np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32), 6, axis=0)
    for method in ("aqe", "alpha_qe", "nfc"):
        options = {"k1": 2} if method == "nfc" else {"k": 4}
        query, gallery = refine_vectors(vectors[:1], vectors[1:], method=method, **options)
        found = np.concatenate([query, gallery])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, units(vectors), atol=1e-6)


def test_vectors_that_cancel_each_other_out_stay_as_they_are() -> None:
    vectors = np.array([[3.0, 0.0], [-2.0, 0.0]])
    query, gallery = refine_vectors(vectors[:1], vectors[1:], method="aqe", k=2)
    assert query.tolist() == [[1, 0]] and gallery.tolist() == [[-1, 0]]
    query, gallery = refine_vectors(vectors[:1], vectors[1:], method="nfc")
    assert query.tolist() == [[1, 0]] and gallery.tolist() == [[-1, 0]]


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("aqe", {"k": 0}, "k=0 must be a whole number from 1"),
        ("alpha_qe", {"alpha": -1.0}, "alpha=-1.0 must be a number from 0"),
        ("alpha_qe", {"alpha": float("nan")}, "alpha=nan must be a number"),
        ("alpha_qe", {"of": "gallery"}, "of='gallery' must be 'all' or 'query'"),
        ("dba", {"of": "query"}, "has no option 'of'"),
        ("nfc", {"k1": 0}, "k1=0 must be"),
        ("nfc", {"k2": "2"}, "k2='2' must be a whole number"),
    ],
)
def test_options_are_checked(method: str, options: dict[str, Any], said: str) -> None:
    data = golden()
    with pytest.raises(UserError, match=said):
        refine_vectors(data["query"], data["gallery"], method=method, **options)
