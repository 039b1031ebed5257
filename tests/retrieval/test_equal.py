"""Equal images tie and equal queries have equal scores, whatever the products of the machine's BLAS look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_cases import random_data

from reidlab.retrieval import counting, equal, evaluate, matching, rank_gallery, ranking, scoring
from reidlab.retrieval.equal import first_equal

EPS = 2.0**-50


def rounded_by_place(query: np.ndarray, gallery: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Multiply as a BLAS may: last bits depend on the row, the column, and the shape of the block."""
    found = np.matmul(query, gallery.T, out=out)
    row, column = np.ogrid[: found.shape[0], : found.shape[1]]
    found *= 1 + EPS * ((3 * row + 5 * column + found.shape[0]) % 7 - 3)
    return found


def repeated(n: int, metric: str) -> tuple[dict[str, Any], np.ndarray]:
    """Few different images, each several times: what `evaluate` takes, and the scores [query, gallery], truly equal."""
    rng = np.random.default_rng(n)
    images, people = rng.normal(size=(max(2, n // 5), 12)), rng.normal(size=(4, 12))
    which, who = rng.integers(0, len(images), n), rng.integers(0, len(people), 11)
    score = people @ images.T
    squares = (images**2).sum(axis=1)
    score = score / np.sqrt(squares) if metric == "cosine" else score - squares / 2
    pids = rng.integers(0, 3, n)
    pids[rng.integers(n)] = 1
    data = {
        "query": people[who],
        "gallery": images[which],
        "query_pids": np.ones(11, int),
        "gallery_pids": pids,
    }
    return data, score[who][:, which]


def wanted_ranks(data: dict[str, Any], score: np.ndarray) -> list[list[int]]:
    order = np.argsort(-score, axis=1, kind="stable")
    return [(np.flatnonzero(data["gallery_pids"][row] == 1) + 1).tolist() for row in order]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("compiled", [False, True])
def test_equal_images_and_queries(threads: int, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled and counting.compiled_counter() is None:
        pytest.skip("numba is not installed or cannot compile here")
    monkeypatch.setattr(scoring, "product", rounded_by_place)
    monkeypatch.setattr(ranking, "n_threads", lambda: threads)
    monkeypatch.setattr(ranking, "LARGE", 0 if compiled else 2**62)
    for n in range(2, 301):
        metric = ("cosine", "euclidean")[n % 2]
        data, score = repeated(n, metric)
        wanted = wanted_ranks(data, score)
        frame = evaluate(**data, metric=metric, block_mib=(1e-4, 1e-3, 64)[n % 3]).per_query
        assert frame["first_rank"].tolist() == [ranks[0] for ranks in wanted], n
        assert frame["ap"].tolist() == [pytest.approx(np.mean(np.arange(1, len(r) + 1) / r)) for r in wanted], n
        values = frame.drop(columns="query").to_numpy(np.float64)
        np.testing.assert_array_equal(values, values[first_equal(data["query"])], "equal queries, to the bit")
        if n % 19 == 0:
            listed = rank_gallery(**data, k=n, metric=metric)
            positions = listed[listed["flag"] == "right"].groupby("query")["position"].agg(list)
            assert positions.tolist() == wanted, n


def test_the_products_of_the_test_do_break_ties() -> None:
    ones = np.ones((3, 4))
    assert len(np.unique(rounded_by_place(ones, ones))) > 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dim", [1, 2, 3, 64])
def test_first_equal(dtype: type, dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows = rng.integers(-1, 2, (2000, dim)).astype(dtype) * rng.choice([-1, 1], (2000, dim))  # zeros of both signs
    wanted: dict[tuple[float, ...], int] = {}
    expected = [wanted.setdefault(tuple((row + 0.0).tolist()), at) for at, row in enumerate(rows)]
    assert first_equal(rows).tolist() == expected
    assert first_equal(np.repeat(rows[:1], 1500, axis=0)).tolist() == [0] * 1500


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.0, 1e-45, 2.0]), min_size=2, max_size=2), min_size=1))
def test_marks_that_collide_change_nothing(rows: list[list[float]]) -> None:
    array = np.array(rows)
    expected = first_equal(array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equal, "_marks", lambda given: np.zeros(len(given), np.uint64))
        assert first_equal(array).tolist() == expected.tolist()
    assert (array[expected] == array).all()


def test_nearly_equal_rows_differ() -> None:
    one = np.float32(1)
    rows = np.array([[1, 1], [np.nextafter(one, np.float32(2)), 1], [1, 1]], np.float32)
    assert first_equal(rows).tolist() == [0, 1, 0]


def test_queries_in_any_order_and_camera() -> None:
    """Equal queries of other people and cameras: each is scored under its own labels."""
    data = random_data(2)
    twice = {name: np.concatenate([data[name], data[name]]) for name in ("query", "query_pids", "query_camids")}
    twice["query_pids"][17:] = np.roll(data["query_pids"], 3)
    order = np.random.default_rng(0).permutation(34)
    mixed = evaluate(**(data | {name: value[order] for name, value in twice.items()})).per_query
    for rule in matching.RULES:
        plain = [evaluate(**(data | {name: value[part] for name, value in twice.items()}), rule=rule).per_query
                 for part in (slice(17), slice(17, None))]  # fmt: skip
        whole = pd.concat(plain, ignore_index=True).iloc[order].reset_index(drop=True)
        mixed = evaluate(**(data | {name: value[order] for name, value in twice.items()}), rule=rule).per_query
        pd.testing.assert_frame_equal(mixed.drop(columns="query"), whole.drop(columns="query"))
