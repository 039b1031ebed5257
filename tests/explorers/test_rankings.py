"""One ranking at a time is the one that `rank_gallery` lists and `evaluate` scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.explorers.rankings import Rankings
from reidlab.retrieval import evaluate, rank_gallery
from reidlab.retrieval.vectors import Embeddings


def sides(seed: int, n_query: int = 9, n_gallery: int = 60, whole: bool = False, cameras: bool = True) -> Any:
    """Embeddings with junk and images of the query's camera; of whole numbers, many are equal and tie."""
    rng = np.random.default_rng(seed)
    made = []
    for n, split in ((n_query, "query"), (n_gallery, "gallery")):
        vectors = rng.integers(-1, 2, (n, 4)) + 0.0 if whole else rng.normal(size=(n, 6))
        vectors[~vectors.any(axis=1)] = 1
        table = pd.DataFrame(
            {"path": [f"{split}{at}" for at in range(n)], "pid": rng.integers(0, 5, n), "split": split}
        )
        if cameras:
            table["camid"] = rng.integers(0, 3, n)
        if split == "gallery":
            table.loc[rng.random(n) < 0.15, "pid"] = -1
        made.append(Embeddings(vectors.astype(np.float32), table))
    made[1].table.loc[3, "path"] = "query2"  # a query stands in the gallery
    return made


def listed(ranked: Any, row: int, k: int, show_ignored: bool = True) -> pd.DataFrame:
    """What `rank_gallery` would have listed."""
    at = ranked.positions(k, show_ignored=show_ignored)
    frame = pd.DataFrame({"query": row, "position": np.arange(1, len(at) + 1), "gallery": ranked.gallery[at]})
    frame["flag"] = [ranked.sign(position) for position in at.tolist()]
    frame["rank"], frame[ranked.shown] = ranked.rank[at], ranked.value[at]
    return frame


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    whole=st.booleans(),
    cameras=st.booleans(),
    metric=st.sampled_from(["cosine", "euclidean"]),
    k=st.integers(1, 70),
    show=st.booleans(),
)
def test_lists_are_those_of_rank_gallery_to_the_bit(
    seed: int, whole: bool, cameras: bool, metric: str, k: int, show: bool
) -> None:
    query, gallery = sides(seed, whole=whole, cameras=cameras)
    rankings = Rankings(query, gallery, metric)
    for row in range(len(query)):
        expected = rank_gallery(query, gallery, queries=[row], k=k, metric=metric, show_ignored=show)
        pd.testing.assert_frame_equal(listed(rankings.of_query(row), row, k, show), expected, check_exact=True)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("form", ["plain", "trapezoid"])
@pytest.mark.parametrize("method", ["", "k_reciprocal", "alpha_qe"])
def test_scores_are_those_of_evaluate(whole: bool, form: str, method: str) -> None:
    for seed in range(6):
        query, gallery = sides(seed, n_query=12, n_gallery=90, whole=whole)
        rankings = Rankings(query, gallery)
        expected = evaluate(query, gallery, ap=form, rerank=method).per_query
        for row in range(len(query)):
            ranked, line = rankings.of_query(row, method), expected.iloc[row]
            assert len(ranked.right_ranks) == line["n_matches"]
            if line["valid"]:
                assert ranked.ap(form) == pytest.approx(line["ap"], abs=1e-12)
                assert ranked.right_ranks[0] == line["first_rank"]
            else:
                assert np.isnan(ranked.ap(form))


def test_a_gallery_image_as_query_is_ranked_as_a_query_would_be() -> None:
    query, gallery = sides(3)
    rankings = Rankings(query, gallery)
    for row in np.flatnonzero(gallery.table["pid"] != -1)[:20].tolist():
        alone = Embeddings(gallery.vectors[row : row + 1], gallery.table.iloc[row : row + 1].reset_index(drop=True))
        expected = rank_gallery(alone, gallery, k=60)
        found = listed(rankings.of_gallery(row), 0, 60)
        assert found["flag"].tolist() == expected["flag"].tolist()
        assert found["gallery"].tolist() == expected["gallery"].tolist()
        assert np.allclose(found["similarity"], expected["similarity"], atol=1e-6)
        own = found[found["gallery"] == row]
        assert own["flag"].item() == "ignored" and own["similarity"].item() == pytest.approx(1, abs=1e-6)


def test_of_junk_and_distractors_nobody_knows_whom_they_show() -> None:
    query, gallery = sides(4)
    gallery.table["distractor"] = False
    gallery.table.loc[5, ["pid", "distractor"]] = [3, True]
    rankings = Rankings(query, gallery)
    junk = int(np.flatnonzero(gallery.table["pid"] == -1)[0])
    for row in (junk, 5):
        ranked = rankings.of_gallery(row)
        assert not ranked.known and not ranked.right.any()
        assert {ranked.sign(position) for position in range(60)} == {"", "ignored"}
        at = int(np.flatnonzero(ranked.gallery == row)[0])
        assert ranked.ignored[at]  # it does not find itself


def test_vectors_from_elsewhere() -> None:
    query, gallery = sides(5)
    rankings = Rankings(query, gallery)
    ranked = rankings.of_vector(query.vectors[4])
    assert ranked.gallery.tolist() == rankings.of_query(4).gallery.tolist()
    assert not ranked.known and np.array_equal(ranked.ignored, (gallery.table["pid"] == -1).to_numpy()[ranked.gallery])
    for wrong, why in (([1.0, 2.0], "different models"), ([np.nan] * 6, "NaN"), ([0.0] * 6, "all zeros")):
        with pytest.raises(UserError, match=why):
            rankings.of_vector(wrong)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("method", ["", "k_reciprocal", "alpha_qe"])
def test_cosines_are_those_of_the_vectors_as_they_are(metric: str, method: str) -> None:
    query, gallery = sides(6)
    rankings = Rankings(query, gallery, metric)
    ranked = rankings.of_query(1, method)
    positions = np.array([0, 7, 20])
    expected = [
        float(v @ query.vectors[1] / np.linalg.norm(v) / np.linalg.norm(query.vectors[1]))
        for v in gallery.vectors[ranked.gallery[positions]]
    ]
    assert np.allclose(rankings.cosines(ranked, positions), expected, atol=1e-6)


def test_reranking_is_made_once_and_leaves_junk_out() -> None:
    query, gallery = sides(7)
    rankings = Rankings(query, gallery)
    assert rankings.is_made("") and not rankings.is_made("alpha_qe")
    first = rankings.reranked("alpha_qe")
    assert rankings.reranked("alpha_qe") is first and rankings.is_made("alpha_qe")
    ranked = rankings.of_query(0, "alpha_qe")
    assert not np.isin(ranked.gallery, np.flatnonzero(gallery.table["pid"] == -1)).any() and not ranked.plain
    with pytest.raises(UserError, match="nothing"):
        rankings.of_query(0, "nothing")


def test_few_rankings_are_kept() -> None:
    query, gallery = sides(8)
    rankings = Rankings(query, gallery)
    first = rankings.of_query(0)
    assert rankings.of_query(0) is first
    for row in range(8):
        rankings.of_query(row)
    assert len(rankings._kept) == 4 and rankings.of_query(0) is not first
