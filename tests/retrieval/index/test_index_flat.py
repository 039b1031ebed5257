"""Exact search: the naive loop, ties, blocks, mapped files, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_cases import draw, naive, names

from reidlab.errors import UserError
from reidlab.registry import METRICS, Entry
from reidlab.retrieval import Index
from reidlab.retrieval.distances import Cosine
from reidlab.retrieval.index import exact, rows


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 7, 50, 70])
def test_as_the_naive_loop(metric: str, k: int) -> None:
    vectors, queries = draw(50), draw(9, seed=1)
    similarity, position = Index.build(vectors, names(50), metric=metric).search(queries, k)
    wanted = naive(vectors, queries, k, metric)
    assert (similarity.dtype, position.dtype, position.shape) == (np.float32, np.int64, (9, k))
    np.testing.assert_array_equal(position, wanted[1])
    np.testing.assert_allclose(similarity, wanted[0], rtol=0, atol=3e-7)
    assert (position[:, 50:] == -1).all() and np.isneginf(similarity[:, 50:]).all()


def test_golden_values() -> None:
    vectors = np.array([[3, 4], [0, 2], [-1, 0]], np.float32)
    found = Index.build(vectors, ["a", "b", "c"]).search(np.array([[6, 8]], np.float32), 3)
    np.testing.assert_allclose(found[0], [[1, 0.8, -0.6]], atol=1e-7)
    found = Index.build(vectors, ["a", "b", "c"], metric="euclidean").search(np.array([[0, 0]], np.float32), 2)
    np.testing.assert_array_equal(found[0], [[-1, -2]])
    np.testing.assert_array_equal(found[1], [[2, 1]])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 12), st.sampled_from(["cosine", "euclidean"]))
def test_ties_come_in_the_order_of_ids(seed: int, n: int, k: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    grid = rng.integers(-1, 2, (n + 5, 3)) * 2 + 1  # odd: no zeros, many equal
    vectors, queries = grid[:n].astype(np.float32), grid[n:].astype(np.float32)
    similarity, position = Index.build(vectors, names(n), metric=metric).search(queries, k)
    wanted = naive(vectors, queries, k, metric)
    np.testing.assert_allclose(similarity, wanted[0], rtol=0, atol=3e-7)
    for line, order in zip(similarity, position):
        for one, other in zip(range(k), range(1, k)):
            assert line[one] > line[other] or order[one] < order[other] or order[other] == -1
    equal = Index.build(np.repeat(vectors[:1], 30, axis=0), names(30), metric=metric).search(queries, 30)
    np.testing.assert_array_equal(equal[1], np.tile(np.arange(30), (5, 1)))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_blocks_change_nothing(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = draw(60), draw(11, seed=1)
    vectors[40:] = vectors[:20]  # every vector of the last block has an equal one in the first
    whole = Index.build(vectors, names(60), metric=metric).search(queries, 9)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 4 * 8 * 7)
    monkeypatch.setattr(exact, "QUERIES", 4)
    monkeypatch.setattr(exact, "SCORES_BYTES", 4 * 4 * 17)
    monkeypatch.setattr(exact, "AGAIN", 2)
    parts = Index.build(vectors, names(60), metric=metric).search(queries, 9)
    for one, other in zip(whole, parts):
        np.testing.assert_array_equal(one, other)


def test_far_from_the_origin_float32_products_say_nothing_and_the_answer_is_right() -> None:
    vectors, queries = draw(300) + 5000, draw(5, seed=1) + 5000
    found = Index.build(vectors, names(300), metric="euclidean").search(queries, 5)
    wanted = naive(vectors, queries, 5, "euclidean")
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_array_equal(found[0], wanted[0])


def test_its_own_vector_has_cosine_one_at_any_length() -> None:
    vectors = draw(20) * np.logspace(-15, 15, 20, dtype=np.float32)[:, None]
    index = Index.build(vectors, names(20))
    similarity, position = index.search(vectors, 1)
    assert (similarity == 1).all() and (position[:, 0] == np.arange(20)).all()
    np.testing.assert_allclose(np.linalg.norm(index.vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(index.normal(vectors), index.vectors)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_vectors_of_a_mapped_file_stay_there(metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "v.npy", draw(4000, 256))  # the vectors are much larger than their names
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    queries, ids = draw(3, 256, seed=1), names(4000)
    monkeypatch.setattr(rows, "BLOCK_BYTES", 4 * 256 * 100)
    wanted = Index.build(np.array(mapped), ids, metric=metric)
    tracemalloc.start()
    index = Index.build(mapped, ids, metric=metric)
    found = index.search(queries, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mapped.nbytes, "all vectors were read into memory"
    for one, other in zip(found, wanted.search(queries, 5)):
        np.testing.assert_array_equal(one, other)
    assert index.fingerprint == wanted.fingerprint
    for each in (index, wanted):
        each.remove(ids[:3])
        each.add(mapped[:2], ["x", "y"])
    for one, other in zip(index.search(queries, 4000), wanted.search(queries, 4000)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(index.vectors, wanted.vectors)


def test_what_is_given_may_change_afterwards() -> None:
    vectors = draw(10)
    for metric in ("cosine", "euclidean"):
        given_ = vectors.copy()
        index = Index.build(given_, names(10), metric=metric)
        given_[:] = 0
        np.testing.assert_array_equal(index.search(vectors, 1)[1][:, 0], np.arange(10))
        with pytest.raises(ValueError, match="read-only"):
            index.vectors[0, 0] = 1


def test_other_floats_are_taken() -> None:
    vectors = draw(10).astype(np.float16)
    for kind in (np.float16, np.float32, np.float64):
        found = Index.build(vectors.astype(kind), names(10)).search(vectors.astype(kind), 3)
        np.testing.assert_array_equal(found[1], naive(vectors, vectors, 3)[1])


class Angle(Cosine):
    """The angle between two vectors."""

    shown = "distance"

    def distance(self, score: np.ndarray, squares: np.ndarray) -> np.ndarray:
        return np.arccos(np.clip(score / np.sqrt(squares), -1, 1))


def test_a_metric_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS._own, "angle", Entry("angle", f"{__name__}:Angle", "the angle between two vectors"))
    METRICS.__dict__.pop("_entries", None)
    try:
        found = Index.build(draw(50), names(50), metric="angle").search(draw(9, seed=1), 7)
    finally:
        METRICS.__dict__.pop("_entries", None)
    cosine = naive(draw(50), draw(9, seed=1), 7)
    np.testing.assert_array_equal(found[1], cosine[1])
    np.testing.assert_allclose(-found[0], np.arccos(cosine[0]), atol=1e-6)


def bad(row: int, value: float) -> np.ndarray:
    vectors = draw(6, 3)
    vectors[row] = value
    return vectors


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (bad(4, 0), "vectors row 4 is all zeros"),
        (bad(2, np.nan), "NaN or infinity in 1 of 6 rows, first in row 2"),
        (bad(5, np.inf), "first in row 5"),
        (bad(3, 3e38), "vectors row 3 is too long for float32"),
        (draw(5, 3).astype(np.float64) * 1e60, "NaN or infinity"),
        (draw(5, 3), "there are 6 ids and 5 vectors"),
        (np.empty((0, 3), np.float32), r"at least one row and column; got shape \[0, 3\]"),
        (np.empty((6, 0), np.float32), "at least one row and column"),
        (np.ones(6, np.float32), r"got shape \[6\]"),
        (np.full((6, 3), "a"), "must be numbers"),
        (None, "must be numbers"),
    ],
)
def test_vectors_that_are_refused(vectors: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Index.build(vectors, names(6))
    index = Index.build(draw(6, 3, seed=3), names(6, 100))
    with pytest.raises(UserError, match=said):
        index.add(vectors, names(6))
    assert index.ids == names(6, 100)


def test_zeros_are_a_vector_for_euclidean_distances() -> None:
    found = Index.build(bad(4, 0), names(6), metric="euclidean").search(np.zeros((1, 3), np.float32), 1)
    assert found[0] == 0 and found[1] == 4


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", "b", "a"], r"ids must be unique; 'a' stands in rows 0 and 2"),
        (["a", "", "c"], r"row 1 is ''"),
        (["a", "b", 3], r"row 2 is 3"),
        ([Path("a"), "b", "c"], r"row 0 is .*Path.*`str\(path\)`"),
        ("abc", "must be a list of texts"),
        (None, "must be a list of texts"),
        (["a", "b"], "there are 2 ids and 3 vectors"),
    ],
)
def test_ids_that_are_refused(ids: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Index.build(draw(3), ids)
    index = Index.build(draw(3), ["x", "y", "z"])
    with pytest.raises(UserError, match=said):
        index.add(draw(3), ids)
    assert index.ids == ["x", "y", "z"] and len(index) == 3


def test_ids_can_be_arrays() -> None:
    index = Index.build(draw(3), np.array(["a", "b", "c"]))
    assert index.ids == ["a", "b", "c"] and all(type(name) is str for name in index.ids)


def test_searches_and_options_that_are_refused() -> None:
    index = Index.build(draw(5), names(5))
    for k in (0, -1, 2.5, True, None, 10**7):
        with pytest.raises(UserError, match="k="):
            index.search(draw(1), k)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="queries have 3 columns and the index has 8"):
        index.search(draw(1, 3))
    with pytest.raises(UserError, match="queries row 0 is all zeros"):
        index.search(np.zeros((1, 8), np.float32))
    with pytest.raises(UserError, match="vectors have 3 columns and the index has 8"):
        index.add(draw(1, 3), ["x"])
    for given_, said in [
        ({"kind": "flatt"}, "index 'flatt' is unknown.*Did you mean 'flat'"),
        ({"metric": "cosin"}, "metric='cosin' is not one of cosine, euclidean"),
        ({"options": {"links": 3}}, "index 'flat' takes no options"),
        ({"model": 3}, "model=3 must be text"),
    ]:
        with pytest.raises(UserError, match=said):
            Index.build(draw(5), names(5), **given_)  # type: ignore[arg-type]


def test_what_was_measured() -> None:
    index = Index.build(draw(40), names(40))
    assert index.measured["recall"] == 1 and index.measured["k"] == 10 and index.measured["queries"] == 40
    assert "flat, 40 vectors of length 8: exact" in index.measured["sentence"] and index.said == ()
    assert index.recall(draw(5, seed=1)) == 1
    assert repr(index) == "Index(flat, 40 vectors, dim 8, cosine)" and (len(index), index.dim) == (40, 8)
    assert Index.build(draw(1), ["one"]).measured["recall"] == 1
