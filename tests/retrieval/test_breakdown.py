"""Scores by group and by pair of cameras, confused identities, ID²: each against a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from retrieval_cases import golden, people

from reidlab.errors import UserError
from reidlab.retrieval import (
    Embeddings,
    camera_matrix,
    confused_identities,
    evaluate,
    identity_spread,
    scores_by,
)
from reidlab.retrieval.inputs import problem_of
from reidlab.retrieval.nearest import nearest_valid
from reidlab.retrieval.vectors import Labels


def sides(n: int = 12, images: int = 6, noise: float = 2.0, **columns: Any) -> tuple[Embeddings, Embeddings]:
    """Two queries of each person, the rest gallery; the last gallery image is junk."""
    both = people(n, images, noise=noise)
    table = both.table.assign(split=np.where(np.arange(len(both)) % images < 2, "query", "gallery"), **columns)
    table.loc[len(table) - 1, "pid"] = -1
    every = Embeddings(both.vectors, table)
    return every.split("query"), every.split("gallery")


def test_scores_by_against_a_loop() -> None:
    query, gallery = sides()
    result = evaluate(query, gallery)
    for columns in (["pid"], ["camid"], ["camid", "pid"]):
        found = scores_by(result, query, *columns)
        assert found["queries"].sum() == len(query) and found["mAP"].dropna().is_monotonic_increasing
        for row in found.itertuples():
            mine = np.ones(len(query), bool)
            for column in columns:
                mine &= (query.table[column] == getattr(row, column)).to_numpy()
            part = result.per_query[mine & result.per_query["valid"]]
            assert (row.queries, row.valid) == (mine.sum(), len(part))
            assert row.rank1 == pytest.approx((part["first_rank"] == 1).mean(), nan_ok=True)
            assert (row.mAP, row.mINP) == pytest.approx((part["ap"].mean(), part["inp"].mean()), nan_ok=True)


def test_scores_by_groups_without_a_match_and_unknown_sequences() -> None:
    query, gallery = sides()
    query.table["sequence"] = np.arange(len(query)) % 4 - 1
    gallery.table.loc[gallery.table["pid"] == 3, "pid"] = 77
    result = evaluate(query, gallery)
    found = scores_by(result, query, "pid").set_index("pid")
    assert found.loc[3, ["queries", "valid"]].tolist() == [2, 0] and found.loc[3, ["rank1", "mAP"]].isna().all()
    assert sorted(scores_by(result, query, "sequence")["sequence"]) == [0, 1, 2]
    query.table["sequence"] = -1
    with pytest.raises(UserError, match="The sequence of no query is known"):
        scores_by(result, query, "sequence")


def test_scores_by_mistakes() -> None:
    query, gallery = sides()
    result = evaluate(query, gallery)
    with pytest.raises(UserError, match=r"no column 'cam'\. Did you mean 'camid'"):
        scores_by(result, query, "cam")
    with pytest.raises(UserError, match="at least one column"):
        scores_by(result, query)
    with pytest.raises(UserError, match="give the embeddings that were evaluated"):
        scores_by(result, gallery, "pid")
    other = Embeddings(query.vectors, query.table.assign(pid=query.table["pid"] + 1))
    with pytest.raises(UserError, match="or other people"):
        scores_by(result, other, "pid")


@pytest.mark.parametrize("ap", ["plain", "trapezoid"])
def test_camera_matrix_is_evaluate_on_each_pair(ap: str) -> None:
    query, gallery = sides(images=7)
    found = camera_matrix(query, gallery, ap=ap)
    assert len(found) == 6 and found["gallery"].groupby(found["query_camid"]).sum().tolist() == [len(gallery) - 1] * 2
    for row in found.itertuples():
        one, other = query.camids == row.query_camid, gallery.camids == row.gallery_camid
        if row.query_camid == row.gallery_camid:
            assert row.queries == 0 and np.isnan(row.rank1) and np.isnan(row.mAP)
            continue
        result = evaluate(
            Embeddings(query.vectors[one], query.table[one].reset_index(drop=True)),
            Embeddings(gallery.vectors[other], gallery.table[other].reset_index(drop=True)),
            ap=ap,
        )
        assert (row.queries, row.rank1) == (result.n_valid, pytest.approx(result.rank1))
        assert row.mAP == pytest.approx(result.mean_ap)


def test_camera_matrix_of_named_cameras_and_of_none() -> None:
    query, gallery = sides()
    names = np.array(["door", "hall", "yard"])
    one, two = (
        Embeddings(side.vectors, side.table.assign(camid=names[side.table["camid"]])) for side in (query, gallery)
    )
    found, plain = camera_matrix(one, two), camera_matrix(query, gallery)
    assert found["query_camid"].unique().tolist() == ["door", "hall"]
    pd.testing.assert_frame_equal(found.iloc[:, 2:], plain.iloc[:, 2:])
    bare = [Embeddings(side.vectors, side.table.drop(columns="camid")) for side in (query, gallery)]
    with pytest.raises(UserError, match="both need the column camid"):
        camera_matrix(*bare)
    with pytest.raises(UserError, match="must be Embeddings"):
        camera_matrix(query.vectors, gallery.vectors)  # type: ignore[arg-type]


def naive_nearest(query: Embeddings, gallery: Embeddings, k: int, other_cameras: bool) -> list[list[int]]:
    """Sort the valid gallery rows of each query by the cosine."""
    lists = []
    for q in range(len(query)):
        valid = []
        for g in range(len(gallery)):
            pid, cam = gallery.table["pid"][g], gallery.table["camid"][g]
            mine = query.table["camid"][q] == cam
            if pid == -1 or (mine and (other_cameras or query.table["pid"][q] == pid)):
                continue
            valid.append(g)
        lists.append(sorted(valid, key=lambda g: -float(query.vectors[q] @ gallery.vectors[g]))[:k])
    return lists


@pytest.mark.parametrize("other_cameras", [False, True])
@pytest.mark.parametrize("block_mib", [128, 1e-6])
def test_nearest_against_a_loop(other_cameras: bool, block_mib: float) -> None:
    query, gallery = sides()
    problem = problem_of(query, gallery, Labels(None), Labels(None), metric="cosine")
    found = nearest_valid(problem, 5, other_cameras=other_cameras, block_mib=block_mib)
    assert problem.gallery_rows[found.column].tolist() == naive_nearest(query, gallery, 5, other_cameras)
    cosine = np.einsum("qd,qkd->qk", query.vectors, gallery.vectors[problem.gallery_rows[found.column]])
    np.testing.assert_allclose(found.distance, 1 - cosine, atol=1e-6)


def test_nearest_of_few_images() -> None:
    query, gallery = sides(n=1, images=4)  # cameras 0, 1; the gallery: camera 2, and junk
    problem = problem_of(query, gallery, Labels(None), Labels(None), metric="cosine")
    found = nearest_valid(problem, 3)
    assert found.column.tolist() == [[0], [0]]
    same = problem_of(query, query, Labels(None), Labels(None), metric="cosine")
    found = nearest_valid(same, 5)
    assert found.column.tolist() == [[1, -1], [0, -1]] and np.isnan(found.distance[:, 1]).all()


def test_confused_identities_against_a_loop() -> None:
    query, gallery = sides(noise=4.0)
    result, nearest = evaluate(query, gallery), naive_nearest(query, gallery, 1, False)
    times: dict[tuple[int, int], int] = {}
    for q, (g,) in enumerate(nearest):
        pair = int(query.table["pid"][q]), int(gallery.table["pid"][g])
        if result.per_query["valid"][q] and pair[0] != pair[1]:
            times[pair] = times.get(pair, 0) + 1
    found = confused_identities(query, gallery, top=1000)
    assert {(row.pid, row.taken_for): row.times for row in found.itertuples()} == times and len(times) > 3
    assert found["times"].sum() == (result.per_query.query("valid")["first_rank"] != 1).sum()
    assert (found["queries"] == 2).all() and (found["share"] == found["times"] / 2).all()
    assert found["times"].is_monotonic_decreasing
    for row in found.itertuples():
        assert nearest[row.query] == [row.gallery] and query.table["pid"][row.query] == row.pid
        assert gallery.table["pid"][row.gallery] == row.taken_for
    pd.testing.assert_frame_equal(found.head(2), confused_identities(query, gallery, top=2))
    with pytest.raises(UserError, match="top=0"):
        confused_identities(query, gallery, top=0)


def test_nobody_is_confused() -> None:
    found = confused_identities(*sides(noise=0.1))
    assert found.empty and "taken_for" in found


def test_id_squared_golden() -> None:
    data = golden()
    vectors = np.concatenate([data["query"], data["gallery"]])
    pids = np.concatenate([data["query_pids"], data["gallery_pids"]])
    table = pd.DataFrame({"pid": pids, "split": "query", "path": [f"{at}" for at in range(30)]})
    found = identity_spread(Embeddings(vectors * np.arange(1, 31)[:, None], table))
    assert found["spread"].mean() == pytest.approx(0.25951784, rel=1e-6)
    assert found["spread"].is_monotonic_decreasing and found["images"].tolist() == [5] * 6
    for row in found.itertuples():
        mine = vectors[pids == row.pid]
        assert row.spread == pytest.approx(((mine - mine.mean(axis=0)) ** 2).sum(axis=1).mean())


def test_id_squared_of_junk_and_single_images() -> None:
    table = pd.DataFrame({"pid": ["a", "-1", "b", "b"], "split": "query"})
    found = identity_spread(Embeddings(np.eye(4, dtype=np.float32), table))
    assert found.to_dict("list") == {"pid": ["b", "a"], "images": [2, 1], "spread": [0.5, 0.0]}
    with pytest.raises(UserError, match="All 4 images are junk"):
        identity_spread(Embeddings(np.eye(4, dtype=np.float32), table.assign(pid=-1)))
    with pytest.raises(UserError, match="all zeros"):
        identity_spread(Embeddings(np.zeros((4, 2), np.float32), table))
