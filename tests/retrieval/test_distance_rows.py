"""Distances that are made row by row: indexing, blocks, and scoring of given ones."""

from __future__ import annotations

import numpy as np
import pytest
from retrieval_cases import golden, random_data

from reidlab.errors import UserError
from reidlab.retrieval import evaluate
from reidlab.retrieval.distance_rows import DenseDistances, as_distances


def test_rows_blocks_and_the_whole() -> None:
    values = np.random.default_rng(0).random((7, 5))
    distances = DenseDistances(values)
    assert len(distances) == 7 and distances.shape == (7, 5) and "7 queries x 5 gallery images" in repr(distances)
    np.testing.assert_array_equal(distances, values)
    assert np.asarray(distances, np.float32).dtype == np.float32
    for at in (3, -1, slice(2, 5), (0, 1), (0, slice(None, 3)), (slice(1, 3), 2), [4, 0], np.arange(7) > 3):
        np.testing.assert_array_equal(distances[at], values[at])
    parts = list(distances.blocks(2 * 5 * 8 / 2**20))
    assert [part for part, _ in parts] == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 7)]
    np.testing.assert_array_equal(np.concatenate([block for _, block in parts]), values)
    with pytest.raises(IndexError):
        distances[7]
    with pytest.raises(ValueError, match="cannot be had without a copy"):
        np.array(distances, copy=False)
    with pytest.raises(UserError, match="block_mib=0 must be"):
        list(distances.blocks(0))


def test_kinds_of_numbers() -> None:
    assert as_distances("d", np.ones((2, 2), np.float16)).dtype == np.float32
    assert as_distances("d", [[1, 2], [3, 4]]).dtype == np.float64
    given = DenseDistances(np.ones((2, 2)))
    assert as_distances("d", given, (2, 2)) is given


@pytest.mark.parametrize("seed", range(4))
def test_given_distances_are_ranked_as_the_vectors_are(seed: int) -> None:
    data = random_data(seed, grid=True)
    distance = ((data["query"][:, None] - data["gallery"][None]) ** 2).sum(axis=-1)
    plain, given = evaluate(**data, metric="euclidean"), evaluate(**data, metric="euclidean", rerank=distance)
    squared = given.per_query.assign(match_distance=given.per_query["match_distance"] ** 0.5)
    squared["wrong_distance"] **= 0.5
    np.testing.assert_allclose(squared["wrong_distance"], plain.per_query["wrong_distance"])
    columns = ["n_matches", "n_ignored", "first_rank", "ap", "inp"]
    assert plain.per_query[columns].equals(squared[columns])


def test_smaller_is_closer_and_ties_stand_in_gallery_order() -> None:
    data = golden()
    wrong = data["query_pids"][:, None] != data["gallery_pids"][None]
    assert evaluate(**data, rerank=wrong.astype(float)).mean_ap == 1
    assert evaluate(**data, rerank=~wrong * 1.0).mean_ap < 0.2
    tied = evaluate(**data, rerank=np.zeros((6, 24)))
    by_place = evaluate(**data, rerank=np.tile(np.arange(24.0), (6, 1)))
    assert tied.per_query["ap"].equals(by_place.per_query["ap"])
