"""Discriminant projections of embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from reidlab.errors import UserError
from reidlab.retrieval import fit_lda


def people(n: int = 12, images: int = 6, dim: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Identities that differ in the first three dimensions; the fourth is loud and says nothing."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), images)
    vectors = 0.1 * rng.normal(size=(n * images, dim))
    vectors[:, :3] += rng.normal(size=(n, 3))[who]
    vectors[:, 3] += 20 * rng.normal(size=n * images)
    return vectors.astype(np.float32), np.char.add("p", who.astype(str))


def test_the_definition_in_plain_loops() -> None:
    vectors, pids = people()
    found = fit_lda(vectors, pids, dim=3, shrinkage=0.4)
    wide = vectors.astype(np.float64)
    names = sorted(set(pids))
    means = [wide[pids == name].mean(0) for name in names]
    within = np.zeros((8, 8))
    for vector, pid in zip(wide, pids):
        apart = vector - means[names.index(pid)]
        within += np.outer(apart, apart) / len(wide)
    centre = sum(means) / len(means)
    between = sum(np.outer(m - centre, m - centre) for m in means) / (len(means) - 1)
    shrunk = 0.6 * within + 0.4 * np.trace(within) / 8 * np.eye(8)
    values, vectors_ = np.linalg.eig(np.linalg.inv(shrunk) @ between)
    order = np.argsort(values.real)[::-1][:3]
    for column, best in zip(found.matrix.T, order):
        wanted = vectors_[:, best].real
        cosine = column @ wanted / np.linalg.norm(column) / np.linalg.norm(wanted)
        assert abs(cosine) == pytest.approx(1, abs=1e-9)
        assert column @ shrunk @ column == pytest.approx(1)
        assert column @ between @ column == pytest.approx(values[best].real)
    assert found.mean == pytest.approx(wide.mean(0)) and found.dim == 3


def test_nearly_without_shrinkage_the_directions_are_scikit_learns() -> None:
    vectors, pids = people()
    found = fit_lda(vectors, pids, dim=3, shrinkage=1e-9)
    other = LinearDiscriminantAnalysis(solver="eigen").fit(vectors.astype(np.float64), pids).scalings_[:, :3]
    one, two = (np.linalg.qr(matrix)[0] for matrix in (found.matrix, other))
    assert np.linalg.svd(one.T @ two)[1] == pytest.approx(np.ones(3), abs=1e-6)  # the same subspace


def test_what_it_gives() -> None:
    vectors, pids = people()
    projection = fit_lda(vectors, pids, dim=3)
    given = projection(vectors[5:7])
    wanted = (vectors[5:7].astype(np.float64) - projection.mean) @ projection.matrix
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    nobody = projection(projection.mean[None])  # no direction at all, and no NaN
    assert np.isfinite(nobody).all()
    assert projection(vectors[:0]).shape == (0, 3)


def nearest_is_right(vectors: np.ndarray, pids: np.ndarray) -> float:
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((pids[distances.argmin(1)] == pids).mean())


def test_people_it_has_not_seen_are_told_apart() -> None:
    vectors, pids = people(n=40)
    seen = np.arange(len(pids)) < 180
    projection = fit_lda(vectors[seen], pids[seen], dim=3, shrinkage=0.001)
    before, after = (
        nearest_is_right(vectors[~seen], pids[~seen]),
        nearest_is_right(projection(vectors[~seen]), pids[~seen]),
    )
    assert before < 0.5 and after > 0.75


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 9), st.integers(2, 4), st.integers(1, 12), st.integers(1, 300), st.integers(0, 1000))
def test_never_wider_than_it_can_be(n: int, images: int, dim: int, wanted: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, pids = rng.normal(size=(n * images, dim)), np.repeat(np.arange(n), images)
    projection = fit_lda(vectors, pids, dim=wanted)
    assert projection.dim == min(wanted, n - 1, dim)
    moved = fit_lda(vectors + 7, pids, dim=wanted)
    np.testing.assert_allclose(np.abs(moved(vectors + 7)), np.abs(projection(vectors)), atol=1e-3)


def test_what_cannot_be() -> None:
    vectors, pids = people()
    for kwargs, words in [
        ({"dim": 0}, "dim=0 must be a whole number"),
        ({"shrinkage": 0.0}, "shrinkage=0"),
        ({"shrinkage": 1.1}, "shrinkage=1.1 must be a number from 0 to 1"),
    ]:
        with pytest.raises(UserError, match=words):
            fit_lda(vectors, pids, **kwargs)
    bad: list[tuple[Any, Any, str]] = [
        (vectors[:3], pids, "pids has shape"),
        (vectors, np.arange(len(pids)) + 0.5, "pids is not a whole number"),
        (vectors, np.full(len(pids), 1e300), "too large a float"),
        (vectors * np.nan, pids, "vectors has NaN or infinity"),
        ([["a"]], [1], "vectors must be numbers"),
        (vectors[:0], pids[:0], "at least one row"),
    ]
    for these, who, words in bad:
        with pytest.raises(UserError, match=words):
            fit_lda(these, who)
    projection = fit_lda(vectors, pids)
    for other in (vectors[:, 1:], vectors[:0, 1:], vectors * np.nan, vectors[0], None):
        with pytest.raises(UserError, match=r"dims|NaN|shape"):
            projection(other)
    for kwargs, words in [
        ({"dim": 2.5}, "dim=2.5"),
        ({"dim": None}, "dim=None"),
        ({"shrinkage": "1"}, "shrinkage='1'"),
    ]:
        with pytest.raises(UserError, match=words):
            fit_lda(vectors, pids, **kwargs)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="two training identities or more; there is 1"):
        fit_lda(vectors[:6], pids[:6])
    with pytest.raises(UserError, match="with two different images"):
        fit_lda(vectors[::6], pids[::6])
    with pytest.raises(UserError, match="with two different images"):
        fit_lda(np.repeat(vectors[::6], 6, axis=0), pids)
