"""Wrong labels that were planted are found: single ones, people split in two, people run together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from retrieval_cases import people

from reidlab.errors import UserError
from reidlab.retrieval import Embeddings, embed, suspicious_labels


def relabelled(embeddings: Embeddings, count: int, seed: int = 0) -> tuple[Embeddings, np.ndarray]:
    """Give `count` images another identity of those that are there; return which rows."""
    rng, table = np.random.default_rng(seed), embeddings.table.copy()
    names = np.unique(embeddings.pids)
    rows = rng.choice(len(table), count, replace=False)
    for row in rows.tolist():
        table.loc[row, "pid"] = rng.choice(names[names != table["pid"][row]])
    return Embeddings(embeddings.vectors, table), rows


def naive(embeddings: Embeddings, k: int) -> dict[int, tuple[float, int]]:
    """The score of each image, and the identity that it looks like, by loops."""
    pids, cams = embeddings.pids, embeddings.camids
    cosine = embeddings.vectors.astype(float) @ embeddings.vectors.T.astype(float)
    elsewhere = [
        [j for j in range(len(pids)) if j != i and (cams is None or cams[j] != cams[i])] for i in range(len(pids))
    ]
    same = np.mean([cosine[i, j] for i, others in enumerate(elsewhere) for j in others if pids[i] == pids[j]])
    gap = same - cosine[pids[:, None] != pids].mean()
    found = {}
    for i, others in enumerate(elsewhere):
        near = sorted(others, key=lambda j: -cosine[i, j])[:k]
        like = {pid: np.mean([cosine[i, j] for j in others if pids[j] == pid]) for pid in {pids[j] for j in near}}
        own = np.mean([cosine[i, j] for j in others if pids[j] == pids[i]] or [same])
        like.pop(pids[i], None)
        if like:
            best = max(like, key=lambda pid: like[pid])
            found[i] = ((like[best] - own) / gap, best)
    return found


@pytest.mark.parametrize("cameras", [True, False])
@pytest.mark.parametrize("k", [3, 10])
def test_scores_against_a_loop(k: int, cameras: bool) -> None:
    embeddings, _ = relabelled(people(12, 6, noise=1.5), 8)
    if not cameras:
        embeddings = Embeddings(embeddings.vectors, embeddings.table.drop(columns="camid"))
    want = {row: (score, pid) for row, (score, pid) in naive(embeddings, k).items() if score >= 0.5}
    found = suspicious_labels(embeddings, k=k, kinds=["label"])
    assert {row.row: row.other_pid for row in found.itertuples()} == {row: pid for row, (_, pid) in want.items()}
    assert found["score"].tolist() == pytest.approx([want[row][0] for row in found["row"]], abs=1e-5)
    assert found["score"].is_monotonic_decreasing and len(found) >= 5
    for row in found.itertuples():
        assert embeddings.pids[row.row] == row.pid and embeddings.pids[row.other_row] == row.other_pid


def test_planted_labels_are_on_top() -> None:
    embeddings, rows = relabelled(people(40, 9, noise=1.0, dim=128), 15)
    found = suspicious_labels(embeddings, kinds=["label"]).head(15)
    assert found["row"].isin(rows).mean() >= 0.9
    assert (found["other_pid"].to_numpy() == found["row"].to_numpy() // 9).mean() >= 0.9, "and whom they show"
    assert "0 of" in found["reason"].iloc[0] and "nearest images in other cameras" in found["reason"].iloc[0]


def test_right_labels_are_not_suspected() -> None:
    found = suspicious_labels(people(30, 9, noise=0.8))
    assert found.empty and found.attrs["counts"] == {"label": 0, "split": 0, "merged": 0}
    assert found.columns.tolist() == ["kind", "score", "pid", "other_pid", "row", "other_row", "reason"]


def test_split_people_are_found() -> None:
    embeddings = people(30, 9, noise=0.8)
    table = embeddings.table.copy()
    half = (table["pid"] < 3) & (np.arange(len(table)) % 9 >= 5)
    table.loc[half, "pid"] += 100
    found = suspicious_labels(Embeddings(embeddings.vectors, table), kinds=["split"])
    assert {tuple(sorted(pair)) for pair in zip(found["pid"], found["other_pid"])} == {(0, 100), (1, 101), (2, 102)}
    assert (found["score"] >= 0.5).all() and "as many as its own" in found["reason"][0]


def test_merged_people_are_found() -> None:
    embeddings = people(30, 9, noise=0.8)
    table = embeddings.table.copy()
    table["pid"] = table["pid"].replace({11: 10, 21: 20})
    found = suspicious_labels(Embeddings(embeddings.vectors, table), kinds=["merged"])
    assert sorted(found["pid"]) == [10, 20] and (found["pid"] == found["other_pid"]).all()
    assert (found["score"] > 0.9).all() and "groups of 9 and 9" in found["reason"][0]
    assert ((found["row"] // 9) != (found["other_row"] // 9)).all()


def test_one_image_that_is_odd_is_no_merged_person() -> None:
    embeddings = people(10, 6, noise=0.3)
    vectors = embeddings.vectors.copy()
    vectors[0] = -vectors[0]
    assert suspicious_labels(Embeddings(vectors, embeddings.table), kinds=["merged"]).empty


def test_junk_and_distractors_are_left_out_and_rows_are_of_the_table() -> None:
    embeddings, rows = relabelled(people(20, 6, noise=0.5), 5)
    table = embeddings.table.assign(distractor=np.arange(120) % 6 == 5)
    table.loc[table.index % 6 == 4, "pid"] = -1
    found = suspicious_labels(Embeddings(embeddings.vectors, table), kinds=["label"])
    assert not found["row"].isin(np.flatnonzero(np.arange(120) % 6 >= 4)).any()
    assert set(found["row"]) == {row for row in rows.tolist() if row % 6 < 4}


def test_top_and_counts() -> None:
    embeddings, _ = relabelled(people(30, 6), 20)
    every, few = suspicious_labels(embeddings), suspicious_labels(embeddings, top=3)
    assert few.attrs == every.attrs and few.attrs["counts"]["label"] == (every["kind"] == "label").sum() > 3
    assert (few["kind"] == "label").sum() == 3
    pd.testing.assert_frame_equal(few[few["kind"] == "label"], every[every["kind"] == "label"].head(3))


def test_names_instead_of_numbers() -> None:
    embeddings, _ = relabelled(people(20, 6), 8)
    named = embeddings.table.assign(pid="p" + embeddings.table["pid"].astype(str))
    one, two = suspicious_labels(embeddings), suspicious_labels(Embeddings(embeddings.vectors, named))
    assert ("p" + one["pid"].astype(str)).tolist() == two["pid"].tolist() and one["row"].tolist() == two["row"].tolist()


def test_planted_labels_in_the_built_in_data(tmp_path: Path) -> None:
    """Of nine wrong labels among some 190 drawn pictures, the small model that comes along puts most on top."""
    from reidlab.data import read
    from reidlab.models import load_model
    from reidlab.pedestrians import PedestriansSpec, make_pedestrians

    spec = PedestriansSpec(n_train_ids=1, n_test_ids=12, n_distractors=0, n_junk=0)
    table = read("pedestrians", make_pedestrians(tmp_path / "drawn", spec, workers=1))
    table = table[table["split"] != "train"].reset_index(drop=True)
    embeddings, rows = relabelled(embed(load_model("small"), table, device="cpu", progress=False), 9)
    found = suspicious_labels(embeddings, kinds=["label"]).head(9)
    assert found["row"].isin(rows).sum() >= 5, "by chance one in twenty would be there"
    right = table["pid"].to_numpy()[found["row"]] == found["other_pid"]
    assert right[found["row"].isin(rows)].mean() >= 0.8


def test_mistakes() -> None:
    embeddings = people(4, 3)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"k": 0}, "k=0"), ({"top": 0}, "top=0"), ({"kinds": []}, "must be a list of label, split, merged"),
        ({"kinds": "label"}, "must be a list of"), ({"kinds": ["labels"]}, "Did you mean 'label'"),
        ({"metric": "cos"}, "metric='cos'"),
    ]  # fmt: skip
    for options, words in cases:
        with pytest.raises(UserError, match=words):
            suspicious_labels(embeddings, **options)
    alone = Embeddings(embeddings.vectors, embeddings.table.assign(pid=1))
    with pytest.raises(UserError, match="fewer than two identities"):
        suspicious_labels(alone)
    with pytest.raises(UserError, match="must be Embeddings"):
        suspicious_labels(embeddings.vectors)  # type: ignore[arg-type]
