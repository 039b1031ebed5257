"""The first k of each list by a judge of pairs: by a loop over every query, under the usual rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.retrieval import Embeddings, evaluate, rerank_pairs


def people(seed: int, n: int = 30) -> tuple[Embeddings, Embeddings]:
    rng = np.random.default_rng(seed)
    pids = rng.integers(0, 5, n)
    pids[:10] = np.repeat(np.arange(5), 2)
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(n)], "pid": pids, "camid": rng.integers(0, 3, n)})
    table["split"] = "query"
    table.loc[:9, "camid"] = np.tile([0, 1], 5)
    table.loc[n - 2, "pid"] = -1  # junk, in the middle of the lists
    vectors = (rng.normal(size=(6, 4))[pids] + rng.normal(size=(n, 4))).astype(np.float32)
    vectors[n - 1] = vectors[n - 3]  # equal images
    query = np.arange(n) % 2 == 0
    query[n - 2] = False
    return tuple(Embeddings(vectors[part], table[part].reset_index(drop=True)) for part in (query, ~query))  # type: ignore[return-value]


def by_a_loop(query: Embeddings, gallery: Embeddings, scores: np.ndarray, k: int) -> tuple[float, float]:
    """Return mAP and rank-1 by lists that are written out."""
    aps, firsts = [], []
    for q in range(len(query)):
        one = query.vectors[q].astype(np.float64)
        cosines = [float(one @ v / np.linalg.norm(one) / np.linalg.norm(v)) for v in gallery.vectors.astype(np.float64)]
        listed = sorted(range(len(gallery)), key=lambda g: (-round(cosines[g], 12), g))
        listed = sorted(listed[:k], key=lambda g: -scores[q, g]) + listed[k:]
        right = []
        for g in listed:
            pid, camid = gallery.table["pid"][g], gallery.table["camid"][g]
            same = pid == query.table["pid"][q]
            if pid != -1 and not (same and camid == query.table["camid"][q]):
                right.append(same)
        ranks = np.flatnonzero(right) + 1
        if len(ranks):
            aps.append(np.mean([(i + 1) / rank for i, rank in enumerate(ranks)]))
            firsts.append(ranks[0] == 1)
    return float(np.mean(aps)), float(np.mean(firsts))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), k=st.sampled_from([1, 3, 8, 100]), few=st.booleans())
def test_lists_by_a_loop(seed: int, k: int, few: bool) -> None:
    query, gallery = people(seed)
    scores = np.random.default_rng(seed).random((len(query), len(gallery)))
    scores = np.round(scores, 1) if few else scores  # ties stay in the order of their distances
    found = evaluate(query, gallery, rerank=rerank_pairs(query, gallery, lambda q, g: scores[q, g], k=k))
    mean_ap, rank1 = by_a_loop(query, gallery, scores, k)
    assert found.mean_ap == pytest.approx(mean_ap) and found.rank1 == pytest.approx(rank1)
    assert "in order of pair scores" in found.rerank


def test_judges_that_change_nothing_or_know_everything() -> None:
    query, gallery = people(1)
    plain = evaluate(query, gallery)
    for k, judge in ((1, lambda q, g: g * 1.0), (9, lambda q, g: np.zeros(len(q)))):
        same = evaluate(query, gallery, rerank=rerank_pairs(query, gallery, judge, k=k))
        assert (same.mean_ap, same.rank1) == (plain.mean_ap, plain.rank1)
    right = query.pids[:, None] == gallery.pids[None, :]
    knowing = rerank_pairs(query, gallery, lambda q, g: right[q, g], k=len(gallery))
    assert evaluate(query, gallery, rerank=knowing).mean_ap == 1
    places = np.asarray(knowing)
    assert (np.sort(places, axis=1) == np.arange(len(gallery))).all()
    few = np.asarray(rerank_pairs(query, gallery, lambda q, g: right[q, g], k=4))
    plainly = np.asarray(rerank_pairs(query, gallery, lambda q, g: np.zeros(len(q)), k=4))
    below = plainly >= 4
    np.testing.assert_array_equal(few[below], plainly[below])


def test_a_judge_is_asked_for_k_pairs_of_each_query() -> None:
    query, gallery = people(2)
    asked: list[Any] = []

    def judge(q: np.ndarray, g: np.ndarray) -> np.ndarray:
        asked.extend(zip(q.tolist(), g.tolist()))
        return np.zeros(len(q))

    np.asarray(rerank_pairs(query, gallery, judge, k=3))
    assert len(asked) == len(set(asked)) == 3 * len(query)
    assert np.bincount([q for q, _ in asked]).tolist() == [3] * len(query)


def test_what_is_refused() -> None:
    query, gallery = people(3)
    with pytest.raises(UserError, match="k=0"):
        rerank_pairs(query, gallery, lambda q, g: g, k=0)
    for judge in (lambda q, g: g[:-1], lambda q, g: np.full(len(q), np.nan)):
        with pytest.raises(UserError, match="finite numbers, one for each pair"):
            np.asarray(rerank_pairs(query, gallery, judge))
