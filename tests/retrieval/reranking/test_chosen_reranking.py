"""`rerank`, `refine_vectors` and `evaluate(..., rerank=...)` with every registered method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from retrieval_cases import golden, random_data

from reidlab.errors import UserError
from reidlab.registry import RERANKINGS
from reidlab.retrieval import Embeddings, RetrievalResult, evaluate, rank_gallery, refine_vectors, rerank

OF_VECTORS = ("aqe", "alpha_qe", "dba", "nfc", "camera_mean")


def embeddings(**columns: Any) -> tuple[Embeddings, Embeddings]:
    data = random_data(0)
    data["gallery_pids"] = np.abs(data["gallery_pids"])
    sides = []
    for side in ("query", "gallery"):
        table = pd.DataFrame(
            {
                "path": [f"{side}/{at}.jpg" for at in range(len(data[side]))],
                "pid": data[f"{side}_pids"],
                "camid": data[f"{side}_camids"],
                "split": side,
            }
        )
        sides.append(Embeddings(data[side].astype(np.float32), table.assign(**columns)))
    return sides[0], sides[1]


@pytest.mark.parametrize("method", RERANKINGS)
def test_embeddings_vectors_and_names_agree(method: str) -> None:
    query, gallery = embeddings()
    cameras = {"query_camids": query.camids, "gallery_camids": gallery.camids}
    distances = rerank(query, gallery, method=method)
    assert distances.shape == (len(query), len(gallery)) and distances.told.startswith(method)
    assert np.isfinite(distances.dense()).all()
    tensors = torch.from_numpy(query.vectors), torch.from_numpy(gallery.vectors)
    np.testing.assert_array_equal(distances, rerank(*tensors, method=method, **cameras))
    result = evaluate(query, gallery, rerank=method)
    assert result.rerank == distances.told and result.metric == "cosine"
    assert result.mean_ap == pytest.approx(evaluate(query, gallery, rerank=distances).mean_ap, abs=1e-9)
    one = rerank(query.vectors[:1], gallery.vectors[:1], method=method, query_camids=[0], gallery_camids=[1])
    assert one.dense().shape == (1, 1) and np.isfinite(one.dense()).all()


@pytest.mark.parametrize("method", OF_VECTORS)
def test_vectors_are_of_the_kind_that_was_given(method: str) -> None:
    query, gallery = embeddings()
    before = query.vectors.copy(), gallery.vectors.copy()
    found = refine_vectors(query, gallery, method=method)
    assert all(isinstance(each, Embeddings) and each.vectors.dtype == np.float32 for each in found)
    assert found[0].table is query.table and found[1].table is gallery.table
    cameras = {"query_camids": query.camids, "gallery_camids": gallery.camids}
    vectors = refine_vectors(query.vectors, gallery.vectors, method=method, **cameras)
    for each, same, old, given in zip(found, vectors, before, (query, gallery)):
        np.testing.assert_array_equal(each.vectors, same)
        np.testing.assert_array_equal(given.vectors, old)
    assert evaluate(*found).mean_ap == pytest.approx(evaluate(query, gallery, rerank=method).mean_ap, abs=1e-9)


@pytest.mark.parametrize("method", sorted(set(RERANKINGS) - set(OF_VECTORS)))
def test_methods_of_distances_make_no_vectors(method: str) -> None:
    query, gallery = embeddings()
    with pytest.raises(UserError, match=f"method='{method}' makes distances, not vectors"):
        refine_vectors(query, gallery, method=method)


def test_tables_without_identities_are_enough() -> None:
    query, gallery = embeddings()
    unknown = [Embeddings(side.vectors, side.table[["path"]]) for side in (query, gallery)]
    np.testing.assert_array_equal(rerank(*unknown), rerank(query, gallery))
    with pytest.raises(UserError, match="needs to know cameras"):
        rerank(*unknown, method="camera_norm")


def test_results_say_so_and_come_back(tmp_path: Path) -> None:
    data = golden()
    result = evaluate(**data, rerank="alpha_qe", rerank_options={"k": 3})
    assert result.rerank == "alpha_qe (k=3, alpha=3.0, of='all')"
    assert "cosine distance, re-ranked by alpha_qe (k=3" in result.sentence()
    assert RetrievalResult.load(result.save(tmp_path / "reranked")).rerank == result.rerank
    plain = evaluate(**data)
    assert plain.rerank == "" and "re-ranked" not in plain.sentence()
    folder = plain.save(tmp_path / "plain")
    assert "rerank" not in json.loads((folder / "retrieval.json").read_text())
    assert RetrievalResult.load(folder).rerank == ""


@pytest.mark.parametrize(
    ("rerank_by", "options", "said"),
    [
        ("k_reciprocl", None, "re-ranking 'k_reciprocl' is unknown.*Did you mean 'k_reciprocal'"),
        ("", {"k": 3}, "rerank_options=.*need the name of a method: k_reciprocal, aqe"),
        (np.ones((6, 24)), {"k": 3}, "rerank_options=.*need the name of a method"),
        ("nfc", {"k": 3}, "re-ranking 'nfc' has no option 'k'"),
        (np.ones((6, 23)), None, "6 queries to 23 gallery images; here are 6 and 24"),
        (np.ones(6), None, "must be what `rerank` returns, or numbers"),
        ([["a", "b"]], None, "must be what `rerank` returns, or numbers"),
        (None, None, "rerank=None must be what `rerank` returns"),
        (np.where(np.arange(24) == 3, np.inf, np.ones((6, 24))), None, "NaN or infinity in 6 rows, first in row 0"),
    ],
)
def test_what_cannot_be_evaluated(rerank_by: Any, options: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        evaluate(**golden(), rerank=rerank_by, rerank_options=options)


def test_cameras_beside_embeddings_are_refused() -> None:
    query, gallery = embeddings()
    with pytest.raises(UserError, match="gallery_camids is given beside Embeddings"):
        rerank(query, gallery, gallery_camids=gallery.camids)
    with pytest.raises(UserError, match="re-ranking 3 is unknown"):
        rerank(query, gallery, method=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["k_reciprocal", "alpha_qe"])
def test_listings_are_re_ranked_too(method: str) -> None:
    data = random_data(0)
    result = evaluate(**data, rerank=method)
    distances = rerank(data["query"], data["gallery"], method=method)
    for reranked_by in (method, distances):
        listing = rank_gallery(**data, queries=[5, 2, 5], k=120, rerank=reranked_by)
        shown = "similarity" if method == "alpha_qe" and reranked_by is method else "distance"
        assert list(listing["query"].unique()) == [5, 2] and shown in listing
        assert (data["gallery_pids"][listing["gallery"]] != -1).all()
        assert (np.diff(listing[shown][listing["query"] == 2]) * (1 if shown == "distance" else -1) >= 0).all()
    listing = rank_gallery(**data, k=120, rerank=method)
    for query, rows in listing[listing["flag"] == "right"].groupby("query"):
        assert rows["rank"].min() == result.per_query["first_rank"][query]
    one = rank_gallery(**data, queries=3, k=4, rerank=distances)
    valid = data["gallery_pids"] != -1
    order = np.argsort(np.where(valid, distances[3], np.inf), kind="stable")[:4]
    assert one["gallery"].tolist() == order.tolist()
    np.testing.assert_allclose(one["distance"], distances[3][order])
