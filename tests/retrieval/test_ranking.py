"""Ranks, the list of nearest images, memory, the result object, the audit and multi-query pooling."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from retrieval_cases import golden, random_data

from reidlab.errors import UserError
from reidlab.retrieval.inputs import problem_of
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.pairs import sample_pairs
from reidlab.retrieval.protocol import PROTOCOLS, pool_multi_query, protocol_audit
from reidlab.retrieval.ranking import rank_matches
from reidlab.retrieval.top import rank_gallery
from reidlab.retrieval.vectors import Labels


def test_no_torch() -> None:
    code = "import sys, reidlab.retrieval.metrics, reidlab.retrieval.ranking; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_full_matrix_is_allocated() -> None:
    rng = np.random.default_rng(0)
    n_query, n_gallery = 2000, 4000  # 30 MiB in float32, 61 in float64
    vectors = [rng.normal(size=(n, 8)).astype(np.float32) for n in (n_query, n_gallery)]
    pids = [rng.integers(0, 200, n) for n in (n_query, n_gallery)]
    tracemalloc.start()
    evaluate(*vectors, query_pids=pids[0], gallery_pids=pids[1], block_mib=2)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak < 16


def test_matches_are_ordered_and_distances_true() -> None:
    data = random_data(0)
    labels = [Labels(data[f"{side}_pids"], data[f"{side}_camids"]) for side in ("query", "gallery")]
    for metric in ("cosine", "euclidean"):
        matches = rank_matches(problem_of(data["query"], data["gallery"], *labels, metric=metric))
        assert (np.lexsort((matches.rank, matches.query)) == np.arange(len(matches.rank))).all()
        kept = np.flatnonzero(data["gallery_pids"] != -1)
        a, b = data["query"][matches.query], data["gallery"][kept[matches.column]]
        cosine = 1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        want = cosine if metric == "cosine" else np.linalg.norm(a - b, axis=1)
        np.testing.assert_allclose(matches.distance, want, atol=1e-7)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("show", [True, False])
def test_rank_gallery_agrees_with_evaluate(metric: str, show: bool) -> None:
    data = random_data(4)
    listed = rank_gallery(**data, k=200, metric=metric, show_ignored=show)
    frame = evaluate(**data, metric=metric).per_query
    for row in frame.itertuples():
        mine = listed[listed["query"] == row.query]
        right = mine[mine["flag"] == "right"]
        assert len(right) == row.n_matches and right["rank"].iloc[0] == row.first_rank
        assert np.mean(np.arange(1, len(right) + 1) / right["rank"]) == pytest.approx(row.ap)
        assert (mine["flag"] == "ignored").any() == show
        assert mine["position"].tolist() == list(range(1, len(mine) + 1))
        column = "similarity" if metric == "cosine" else "distance"
        assert (np.diff(mine[column]) * (-1 if metric == "cosine" else 1) >= 0).all()
    assert list(listed["flag"].unique()) and set(listed["flag"]) <= {"right", "wrong", "ignored"}


def test_rank_gallery_ties_choice_and_mistakes() -> None:
    data = {
        "query": np.ones((2, 2)),
        "gallery": np.ones((5, 2)),
        "query_pids": [1, 2],
        "gallery_pids": [2, 1, 3, -1, 2],
    }
    listed = rank_gallery(**data, queries=[1], k=4)
    assert listed["gallery"].tolist() == [0, 1, 2, 3] and set(listed["query"]) == {1}
    assert listed["flag"].tolist() == ["right", "wrong", "wrong", "ignored"]
    assert listed["rank"].tolist() == [1, 2, 3, 0]
    lists = {name: np.asarray(value).tolist() for name, value in data.items()}
    pd.testing.assert_frame_equal(rank_gallery(**lists, queries=[1], k=4), listed)
    with pytest.raises(UserError, match="query_pids has shape"):
        rank_gallery(**(data | {"query_pids": [1]}), queries=[1])
    for queries in ([2], [], [-1], 2, [0.5], [None], "0", [[0], [0, 1]], [True], [2**70]):
        with pytest.raises(UserError, match="row numbers from 0 to 1"):
            rank_gallery(**data, queries=queries)
    for k in (0, 1.0, "3", None, True, 2**70):
        with pytest.raises(UserError, match=f"k={k!r} must be a whole number"):
            rank_gallery(**data, k=k)  # type: ignore[arg-type]
    assert (
        set(rank_gallery(**data, queries=1)["query"]) == set(rank_gallery(**data, queries=np.int8(1))["query"]) == {1}
    )


@pytest.mark.parametrize("strings", [False, True])
def test_result_is_saved_and_read_back(tmp_path: Path, strings: bool) -> None:
    data = golden()
    if strings:
        data |= {name: data[name].astype(str) for name in data if name.endswith("ids")}
    result = evaluate(**data, ap="trapezoid", bootstrap=50, seed=3)
    again = RetrievalResult.load(result.save(tmp_path / "a"))
    assert repr(again) == repr(result) and again.intervals == result.intervals
    np.testing.assert_array_equal(again.cmc, result.cmc)
    pd.testing.assert_frame_equal(again.per_query, result.per_query, check_dtype=False)
    with pytest.raises(UserError, match="not a saved retrieval result"):
        RetrievalResult.load(tmp_path)


def test_result_shows_itself() -> None:
    result = evaluate(**golden(), bootstrap=50)
    assert "\n" not in repr(result) and "trapezoid" in repr(evaluate(**golden(), ap="trapezoid"))
    html = result._repr_html_()
    for word in ("rank1", "mINP", "75.44%", "interval", "plain AP", "same identity and camera ignored", "6 of 6"):
        assert word in html
    assert result.to_frame()["measure"].tolist() == ["rank1", "rank5", "rank10", "mAP", "mINP"]
    with pytest.raises(ValueError, match="read-only"):
        result.cmc[0] = 1


@pytest.mark.parametrize(
    "change",
    [
        {"cmc": [0.5, 0.4]},
        {"cmc": [0.5, 1.2]},
        {"cmc": []},
        {"cmc": [0.5, float("nan")]},
        {"cmc": ["a"]},
        {"cmc": [0.5 + 0j]},
        {"cmc": [10**400]},
        {"cmc": [[1], [1, 2]]},
        {"mean_ap": 1.1},
        {"mean_ap": float("nan")},
        {"mean_inp": None},
        {"ap": "x"},
        {"per_query": [1]},
        {"per_query": pd.DataFrame({"valid": [True]})},
    ],
)
def test_result_refuses_the_impossible(change: dict[str, Any]) -> None:
    frame = pd.DataFrame({"valid": [True], "first_rank": [1]})
    good: dict[str, Any] = {"mean_ap": 0.5, "mean_inp": 0.5, "cmc": [0.5, 0.6], "per_query": frame}
    good |= {"metric": "cosine", "ap": "plain", "rule": "official", "n_gallery": 3}
    RetrievalResult(**good)
    with pytest.raises(UserError):
        RetrievalResult(**(good | change))


def test_audit() -> None:
    audit = protocol_audit(**golden()).set_index("protocol")
    assert list(audit.index) == list(PROTOCOLS)
    assert audit.loc["official", "mAP"] == pytest.approx(0.75436508, abs=1e-8)
    assert audit.loc["no camera rule", "mAP"] == pytest.approx(0.84950397, abs=1e-8)
    assert audit.loc["query in its own gallery", "rank1"] == 1
    data = random_data(1)
    audit = protocol_audit(**data).set_index("protocol")
    assert audit.loc["junk kept", "mAP"] < audit.loc["official", "mAP"]
    assert audit.loc["whole camera dropped", "mAP"] == pytest.approx(evaluate(**data, rule="drop_same_camera").mean_ap)
    with pytest.raises(UserError, match="camera"):
        protocol_audit(**(data | {"query_camids": None}))


def test_the_audit_of_a_closed_set_counts_identities() -> None:
    data = random_data(1)
    audit = protocol_audit(**data).set_index("protocol").loc["closed set"]
    pids = np.asarray(data["gallery_pids"])
    gallery = np.asarray(data["gallery"]) / np.linalg.norm(data["gallery"], axis=1, keepdims=True)
    people = [pid for pid in np.unique(pids).tolist() if str(pid) != "-1"]
    means = {pid: gallery[pids == pid].mean(axis=0) for pid in people}
    ranks = []
    for vector, own in zip(np.asarray(data["query"]), data["query_pids"]):
        if own in means:
            near = {pid: vector @ mean / np.linalg.norm(vector) / np.linalg.norm(mean) for pid, mean in means.items()}
            ranks.append(1 + sum(value > near[own] for value in near.values()))
    assert audit["n_valid"] == len(ranks) and audit["rank1"] == np.mean(np.array(ranks) == 1)
    assert audit["mAP"] == pytest.approx(np.mean(1 / np.array(ranks)))


def test_every_protocol_names_a_system_that_is_scored_so() -> None:
    audit = protocol_audit(**golden())
    assert audit["used_by"].str.len().min() > 20
    assert "26.25" in audit.set_index("protocol").loc["camera dropped, junk kept, AP over 10", "used_by"]


def test_bad_arguments_of_the_others() -> None:
    data = random_data(0)
    for count in (0, 1.5, None, "3", 10**12):
        with pytest.raises(UserError, match=f"count={count!r} must be a whole number from 1"):
            sample_pairs(**data, count=count)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="seed=-1 must be a whole number"):
        sample_pairs(**data, seed=-1)
    for metric in (None, 3, "l2"):
        for call in (sample_pairs, protocol_audit, rank_gallery):
            with pytest.raises(UserError, match=r"metric=.* is not one of cosine, euclidean"):
                call(**data, metric=metric)  # type: ignore[arg-type]
    result = evaluate(**data)
    for k in (0, 1.5, None, "1"):
        with pytest.raises(UserError, match=f"rank k={k!r} must be a whole number"):
            result.rank(k)  # type: ignore[arg-type]
    pool: dict[str, Any] = {"vectors": np.ones((3, 2)), "pids": [1, 1, 2], "camids": [1, 1, 1], "query": [[1.0, 0]]}
    for change, words in [
        ({"query_pids": [1, 2], "query_camids": [1]}, "query_pids has shape"),
        ({"query_pids": [1e300], "query_camids": [1]}, "query_pids is too large a float"),
        ({"query_pids": [1], "query_camids": [None]}, "query_camids is missing"),
        ({"query_pids": [1], "query_camids": [1], "vectors": np.zeros((3, 2))}, "vectors row 0 is all zeros"),
        ({"query_pids": [1], "query_camids": [1], "pids": [1]}, "pids has shape"),
    ]:
        with pytest.raises(UserError, match=words):
            pool_multi_query(**(pool | change))


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "3", '{"cmc": [1]}', "{" * 5000, '{"cmc": [1], "intervals": {"mAP": 3}}', '{"a": NaN}'],
)
def test_damaged_results(tmp_path: Path, text: str) -> None:
    evaluate(**golden()).save(tmp_path)
    (tmp_path / "retrieval.json").write_text(text)
    with pytest.raises(UserError, match=r"retrieval\.json|no readable retrieval result"):
        RetrievalResult.load(tmp_path)
    evaluate(**golden()).save(tmp_path)
    (tmp_path / "per_query.parquet").write_text(text)
    with pytest.raises(UserError, match="no readable retrieval result"):
        RetrievalResult.load(tmp_path)


def test_results_of_earlier_versions(tmp_path: Path) -> None:
    file = evaluate(**golden()).save(tmp_path) / "retrieval.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({name: content[name] for name in content if name not in ("n_same_image", "notes")}))
    again = RetrievalResult.load(tmp_path)
    assert again.n_same_image is None and again.notes == ()


def test_audit_by_hand() -> None:
    """One query; right at 2 and 12 of 12: AP over the first 10 is 1/2, the whole AP (1/2 + 2/12) / 2."""
    pids = ["b", "a", *"cdefghijk", "a"]
    audit = protocol_audit(
        [[0.0]], np.arange(1.0, 13)[:, None], query_pids=["a"], query_camids=[0], gallery_pids=pids,
        gallery_camids=[1] * 12, metric="euclidean",
    ).set_index("protocol")  # fmt: skip
    assert audit.loc["AP over the first 10", "mAP"] == pytest.approx(1 / 2)
    assert audit.loc["official", "mAP"] == pytest.approx((1 / 2 + 2 / 12) / 2)
    assert audit.loc["query in its own gallery", "mAP"] == pytest.approx((1 + 2 / 3 + 3 / 13) / 3)
    assert audit.loc["precision printed as rank-k", ["rank1", "rank5"]].tolist() == [0, 0]
    assert audit.loc["official", "rank5"] == 1


def test_pool_multi_query() -> None:
    pool = [[2.0, 0], [0, 3], [1, 0], [5, 5]]
    pooled, counts = pool_multi_query(
        pool, [1, 1, 1, 2], [1, 1, 2, 1], query=[[0, 7.0], [1, 1], [0, 2]], query_pids=[1, 1, 9], query_camids=[1, 2, 1]
    )
    np.testing.assert_allclose(pooled, [[0.5**0.5, 0.5**0.5], [1, 0], [0, 1]])
    assert counts.tolist() == [2, 1, 0]
    with pytest.raises(UserError, match="dims"):
        pool_multi_query(pool, [1] * 4, [1] * 4, query=[[1.0]], query_pids=[1], query_camids=[1])
