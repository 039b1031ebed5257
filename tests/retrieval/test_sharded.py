"""Shards find the ranks of one machine, to the bit, wherever the gallery is cut."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidlab.retrieval import counting, ranking, scoring, shards
from reidlab.retrieval.inputs import problem_of
from reidlab.retrieval.matching import RULES, Matches
from reidlab.retrieval.ranking import rank_matches
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.sharded import cut, rank_sharded, shard_starts
from reidlab.retrieval.vectors import Labels


def bits_by_shape(query: np.ndarray, gallery: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Multiply as a BLAS may: last bits depend on the shape of the matrices and on the place in them."""
    found = np.matmul(query, gallery.T, out=out)
    row, column = np.ogrid[: found.shape[0], : found.shape[1]]
    found *= 1 + 2.0**-45 * ((3 * row + 5 * column + 7 * sum(found.shape)) % 11 - 5)
    return found


def drawn(seed: int, n_query: int, n_gallery: int, n_different: int, metric: str, people: int = 4) -> Any:
    """A problem with many equal images (in all shards) and equal queries, in three cameras."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((n_different, 6))
    sides = [images[rng.integers(0, n_different, n)] for n in (n_query, n_gallery)]
    labels = [
        Labels(rng.integers(0, people, n), rng.integers(0, 3, n), rng.permutation(n_query + n_gallery)[:n])
        for n in (n_query, n_gallery)
    ]
    labels[1].pids[rng.random(n_gallery) < 0.1] = -1
    labels[1].pids[-1] = 3
    return problem_of(*sides, *labels, metric=metric)


def shared(problem: Any, rule: str, n_shards: int, threads: int = 1) -> Matches:
    """Rank with shards that are called one after another."""
    scorer = Scorer(problem)
    starts = shard_starts(len(problem.gallery), n_shards)
    held = list(cut(problem, scorer, rule, starts))
    lines = problem.query[np.unique(scorer.query_first)]

    def call(method: str, arguments: Any) -> list[Any]:
        return [getattr(shard, method)(lines, *given) for shard, given in zip(held, arguments)]

    return rank_sharded(problem, scorer, rule, starts, call, [threads] * len(held))


def assert_same(found: Matches, wanted: Matches) -> None:
    for name in Matches.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


@pytest.mark.parametrize("compiled", [False, True])
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    n_query=st.integers(1, 40),
    n_gallery=st.integers(1, 90),
    n_different=st.integers(1, 60),
    n_shards=st.integers(1, 9),
    threads=st.integers(1, 3),
    metric=st.sampled_from(["cosine", "euclidean"]),
    rule=st.sampled_from(RULES),
)
def test_ranks_are_those_of_one_machine(
    compiled: bool,
    seed: int,
    n_query: int,
    n_gallery: int,
    n_different: int,
    n_shards: int,
    threads: int,
    metric: str,
    rule: str,
) -> None:
    if compiled and counting.compiled_counter() is None:
        pytest.skip("numba is not installed or cannot compile here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "product", bits_by_shape)
        for module in (scoring, shards):
            patch.setattr(module, "ROWS", 8)
            patch.setattr(module, "COLUMNS", 7)
        patch.setattr(ranking, "ROWS", 8)
        patch.setattr(shards, "CACHE", 2000)
        patch.setattr(shards, "LARGE", 0 if compiled else 2**62)
        patch.setattr("reidlab.retrieval.sharded.COLUMNS", 7)
        problem = drawn(seed, n_query, n_gallery, n_different, metric)
        assert_same(shared(problem, rule, n_shards, threads), rank_matches(problem, rule=rule))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_with_the_products_of_this_machine(metric: str, rule: str) -> None:
    problem = drawn(0, 130, 5000, 3000, metric, people=400)
    single = rank_matches(problem, rule=rule)
    for n_shards in (1, 2, 50):
        assert_same(shared(problem, rule, n_shards, threads=2), single)


def test_where_shards_begin() -> None:
    tile = scoring.COLUMNS
    for n_gallery in (1, tile - 1, tile, tile + 1, 5 * tile, 17 * tile + 3, 515913):
        for n_shards in (1, 2, 5, 1000):
            starts = shard_starts(n_gallery, n_shards)
            assert starts[0] == 0 and starts[-1] == n_gallery and (starts[:-1] % tile == 0).all()
            sizes = np.diff(starts)
            assert (sizes > 0).all() and len(sizes) == min(n_shards, -(-n_gallery // tile))
            assert sizes.max() - sizes.min() < 2 * tile


def test_shards_hold_each_image_once_and_equal_ones_together() -> None:
    problem = drawn(1, 5, 4000, 900, "cosine")
    scorer = Scorer(problem)
    starts = shard_starts(len(problem.gallery), 3)
    owner: dict[int, int] = {}
    for at, shard in enumerate(cut(problem, scorer, "official", starts)):
        assert np.shares_memory(shard.vectors, problem.gallery) and (np.diff(shard.columns) > 0).all()
        there = np.delete(shard.columns, shard.gone)
        assert not set(there.tolist()) & set(owner)
        owner |= dict.fromkeys(there.tolist(), at)
    assert sorted(owner) == list(range(len(problem.gallery)))
    assert all(owner[column] == owner[first] for column, first in enumerate(scorer.first.tolist()))


@pytest.mark.parametrize("scales", [False, True])
def test_plain_counting_is_that_of_the_kernel(scales: bool) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        dots, lines = rng.integers(0, 4, (3, 12)) * 1.0, rng.integers(0, 3, 4)
        ends, sought = (np.append(0, np.sort(rng.integers(0, 6, 4))) for _ in range(2))
        arguments = [dots, lines, rng.integers(1, 3, 12) * 1.0, scales, ends, rng.permutation(12)[:6]]
        arguments += [rng.integers(0, 3, 12), rng.integers(0, 3, 4) if rng.random() < 0.5 else np.zeros(0, int)]
        arguments += [sought, rng.integers(0, 6, 6) * 1.0, rng.integers(0, 13, 6)]
        results = []
        for count in (shards.count_plainly, counting._count_block):
            nearer, wrong = np.zeros(6, np.int64), np.zeros(4)
            count(*arguments, nearer, wrong)
            results.append((nearer.tolist(), wrong.tolist()))
        assert results[0] == results[1]


def test_what_arrives_at_odd_addresses_is_aligned() -> None:
    problem = drawn(2, 5, 200, 90, "cosine")
    (shard,) = cut(problem, Scorer(problem), "drop_same_camera", shard_starts(len(problem.gallery), 1))
    buffers: list[pickle.PickleBuffer] = []
    sent = pickle.dumps(shard, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) > 3
    odd = [memoryview(b"x" + bytes(buffer.raw()))[1:] for buffer in buffers]
    found = pickle.loads(sent, buffers=odd)
    for field in dataclasses.fields(shard):
        value, wanted = getattr(found, field.name), getattr(shard, field.name)
        np.testing.assert_array_equal(value, wanted)
        if isinstance(wanted, np.ndarray):
            assert value.flags.aligned and (value.flags.writeable or field.name == "vectors")


def test_junk_and_the_query_itself() -> None:
    """What the metrics count beside ranks is the same too."""
    problem = drawn(7, 60, 3000, 500, "cosine", people=200)
    found, wanted = shared(problem, "official", 3), rank_matches(problem)
    assert problem.n_junk > 100 and (problem.n_same_image or 0) > 0
    assert pd.Series(found.n_ignored).equals(pd.Series(wanted.n_ignored)) and found.n_ignored.sum() > 0
