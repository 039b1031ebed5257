"""CMC, precision and recall at k, and the single-gallery-shot CMC, against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from retrieval_cases import golden, people, random_data

from reidlab.errors import UserError
from reidlab.retrieval import evaluate, single_shot_cmc, top_k_table


def lists(data: dict[str, Any]) -> list[list[bool]]:
    """Whether each valid gallery image is right, nearest first, of queries that have a match."""
    out = []
    for q, pid, cam in zip(data["query"], data["query_pids"], data["query_camids"]):
        cosine = data["gallery"] @ q / np.linalg.norm(data["gallery"], axis=1)
        order = np.argsort(-cosine, kind="stable")
        kept = [g for g in order if data["gallery_pids"][g] != -1]
        kept = [g for g in kept if (data["gallery_pids"][g], data["gallery_camids"][g]) != (pid, cam)]
        right = [bool(data["gallery_pids"][g] == pid) for g in kept]
        if any(right):
            out.append(right)
    return out


@pytest.mark.parametrize("seed", range(3))
def test_top_k_against_a_loop(seed: int) -> None:
    data = random_data(seed)
    right = lists(data)
    found = top_k_table(**data, ks=(1, 3, 7, 500))
    assert found["k"].tolist() == [1, 3, 7, 500]
    for row in found.itertuples():
        hits = [sum(each[: row.k]) for each in right]
        assert row.cmc == pytest.approx(np.mean([hit > 0 for hit in hits]))
        assert row.precision == pytest.approx(np.mean([hit / row.k for hit in hits]))
        assert row.recall == pytest.approx(np.mean([hit / sum(each) for hit, each in zip(hits, right)]))
    assert found["recall"].iloc[-1] == 1 and found["precision"].iloc[0] == found["cmc"].iloc[0]


def test_top_k_golden_and_intervals() -> None:
    found = top_k_table(**golden(), ks=[1, 2, 3, 4], bootstrap=100)
    assert found["cmc"].tolist() == pytest.approx([4 / 6, 5 / 6, 5 / 6, 1])
    result = evaluate(**golden(), bootstrap=100)
    assert tuple(found.loc[0, ["cmc_low", "cmc_high"]]) == result.intervals["rank1"]
    for name in ("cmc", "precision", "recall"):
        assert ((found[f"{name}_low"] <= found[name]) & (found[name] <= found[f"{name}_high"])).all()
    assert top_k_table(**golden()).columns.tolist() == ["k", "cmc", "precision", "recall"]


def naive_single_shot(data: dict[str, Any], draws: int, seed: int, max_rank: int) -> np.ndarray:
    """Per draw and query: the first valid image of each identity in the drawn order, then a sort."""
    kept = data["gallery_pids"] != -1
    gallery, pids, cams = (data[name][kept] for name in ("gallery", "gallery_pids", "gallery_camids"))
    units = gallery / np.sqrt((gallery**2).sum(axis=1, keepdims=True))
    rng, curves = np.random.default_rng(seed), []
    for _ in range(draws):
        order, ranks = rng.permutation(len(pids)).tolist(), []
        for q, pid, cam in zip(data["query"], data["query_pids"], data["query_camids"]):
            first: dict[int, int] = {}
            for g in order:
                if not (pids[g] == pid and cams[g] == cam):
                    first.setdefault(int(pids[g]), g)
            if int(pid) in first:
                ranking = sorted(first.values(), key=lambda g: (-float(units[g] @ q), g))
                ranks.append(ranking.index(first[int(pid)]) + 1)
        curves.append([np.mean(np.array(ranks) <= k) for k in range(1, max_rank + 1)])
    return np.array(curves)


@pytest.mark.parametrize("seed", range(3))
def test_single_shot_against_a_loop(seed: int) -> None:
    data = random_data(seed, n_query=25)
    curves = naive_single_shot(data, 4, seed, 6)
    found = single_shot_cmc(**data, draws=4, seed=seed, max_rank=6)
    assert found["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(found["cmc"], curves.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found["std"], curves.std(axis=0), atol=1e-12)


def test_single_shot_of_one_image_each_is_the_plain_cmc() -> None:
    both = people(20, 2, noise=3.0)
    query, gallery = (type(both)(both.vectors[at::2], both.table.iloc[at::2].reset_index(drop=True)) for at in (0, 1))
    found = single_shot_cmc(query, gallery, draws=3, max_rank=20)
    np.testing.assert_allclose(found["cmc"], evaluate(query, gallery, max_rank=20).cmc, atol=1e-12)
    assert (found["std"] < 1e-12).all() and found["cmc"].iloc[-1] == 1
    pd.testing.assert_frame_equal(found, single_shot_cmc(query, gallery, draws=3, max_rank=20))


def test_single_shot_never_draws_the_query_itself() -> None:
    side = people(5, 3)
    found = single_shot_cmc(side, side, draws=2, max_rank=5)
    labels = {"query_pids": side.pids, "gallery_pids": side.pids}
    itself = single_shot_cmc(side.vectors, side.vectors, **labels, draws=40, max_rank=5)
    assert itself["cmc"].iloc[0] > found["cmc"].iloc[0] - 1e-9 and found["cmc"].iloc[-1] == 1


def test_mistakes() -> None:
    data = golden()
    for ks in ([], [0], [1.5], "12", 3, None):
        with pytest.raises(UserError, match="k"):
            top_k_table(**data, ks=ks)  # type: ignore[arg-type]
    none = data | {"query_pids": np.full(6, 99)}
    for function in (top_k_table, single_shot_cmc):
        with pytest.raises(UserError, match="No query has a valid match"):
            function(**none)
    for wrong in ({"draws": 0}, {"seed": -1}, {"max_rank": 0}, {"metric": "cos"}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            single_shot_cmc(**data, **wrong)
    with pytest.raises(UserError, match="bootstrap=-1"):
        top_k_table(**data, bootstrap=-1)
