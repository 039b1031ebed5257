"""Causes of failures: each is planted in one query of a small data set, and has to be found there alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from reidlab.errors import UserError
from reidlab.retrieval import Embeddings, camera_matrix, evaluate, failure_causes
from reidlab.retrieval.causes import CAUSES, UNEXPLAINED

N = 24
BLURRED, DARK, OCCLUDED, ALIKE, FEW, ODD = 0, 1, 2, 3, 4, 5  # the people whose queries fail


def picture(path: Path, hue: float, seed: int, *, light: float = 1.0, blurred: bool = False) -> None:
    """A person of one colour on noise."""
    rng = np.random.default_rng(seed)
    pixels = np.full((128, 64, 3), [int(255 * hue), 180, 160], np.uint8)
    pixels = (np.clip(pixels + rng.normal(0, 12, pixels.shape), 0, 255) * light).astype(np.uint8)
    image = Image.fromarray(pixels, "HSV").convert("RGB")
    image = image.filter(ImageFilter.GaussianBlur(4)) if blurred else image
    image.save(path)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Embeddings, Embeddings]:
    """One query of each person in camera 0, gallery images in cameras 1 and 2 (person FEW: in camera 1 alone)."""
    folder, rows, vectors = tmp_path_factory.mktemp("pictures"), [], []
    taken = {BLURRED: 6, DARK: 7, OCCLUDED: 8, ALIKE: 9, FEW: 10, ODD: 11}
    for pid in range(N):
        for camid in range(3 if pid != FEW else 2):
            path, query = folder / f"{pid}_{camid}.png", camid == 0
            hue = (taken[pid] if pid == ALIKE and query else pid) / N
            picture(path, hue, len(rows), light=0.3 if query and pid == DARK else 1, blurred=query and pid == BLURRED)
            mask = np.ones((128, 64), np.uint8)
            mask[64:] = 2 if query and pid == OCCLUDED else 0
            Image.fromarray(mask).save(folder / f"mask_{pid}_{camid}.png")
            vector = np.eye(N)[pid]
            if query and pid in taken:
                vector = np.eye(N)[taken[pid]] + 0.5 * np.eye(N)[pid]
            vectors.append(vector + 0.01 * np.random.default_rng(len(rows)).normal(size=N))
            split = "query" if query else "gallery"
            rows.append((str(path), pid, camid, split, str(folder / f"mask_{pid}_{camid}.png")))
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "split", "mask"])
    both = Embeddings(np.array(vectors, np.float32), table)
    return both.split("query"), both.split("gallery")


def test_each_cause_is_found_where_it_was_planted(sides: tuple[Embeddings, Embeddings]) -> None:
    result = evaluate(*sides)
    found = failure_causes(result, *sides, tail=0.05, hard=0)
    frame = found.frame.set_index("pid")
    assert frame.index.tolist() == [BLURRED, DARK, OCCLUDED, ALIKE, FEW, ODD] and found.n_valid == N
    causes = ["blurred", "dark", "occluded", "look_alike", "few_matches", UNEXPLAINED]
    assert frame["cause"].tolist() == causes
    flags = frame[list(CAUSES)].drop(columns="hard_cameras")
    assert flags.sum(axis=1).tolist() == [1, 2, 1, 1, 1, 0], "none has another's fault, save that the dark is unsharp"
    assert frame["wrong_pid"].tolist() == [6, 7, 8, 9, 10, 11]
    summary = found.summary.set_index("cause")
    assert summary.loc[causes, "named"].tolist() == [1] * 6 and summary["named"].sum() == 6
    assert summary.loc["occluded", ["share_failed", "share_all"]].tolist() == pytest.approx([1 / 6, 1 / N])
    assert np.isnan(summary.loc["look_alike", "share_all"])


def test_measured_values(sides: tuple[Embeddings, Embeddings]) -> None:
    query, gallery = sides
    result = evaluate(query, gallery)
    frame = failure_causes(result, query, gallery).frame
    for row in frame.itertuples():
        assert query.table["pid"][row.query] == row.pid == gallery.table["pid"][row.right]
        assert gallery.table["pid"][row.wrong] == row.wrong_pid != row.pid
        units = gallery.vectors / np.linalg.norm(gallery.vectors, axis=1, keepdims=True)
        mine = query.vectors[row.query] / np.linalg.norm(query.vectors[row.query])
        wrong, right = (1 - float(units[at] @ mine) for at in (row.wrong, row.right))
        assert row.margin == pytest.approx((right - wrong) / right, abs=1e-5)
        assert wrong == pytest.approx(float((1 - units @ mine).min()), abs=1e-6)
        assert row.n_matches == (gallery.table["pid"] == row.pid).sum()
    covered = frame.set_index("pid")["covered"]
    assert covered[OCCLUDED] == pytest.approx(0.5) and covered.drop(OCCLUDED).eq(0).all()
    matrix = camera_matrix(query, gallery).set_index("gallery_camid")["rank1"]
    best = frame.set_index("pid")["cameras_rank1"]
    assert best[FEW] == matrix[1] and best[ODD] == matrix.max()


def test_hard_cameras(sides: tuple[Embeddings, Embeddings]) -> None:
    """Camera 1 is hard for camera 0, and person FEW is seen by it alone."""
    query, gallery = sides
    vectors = gallery.vectors.copy()
    at = np.flatnonzero((gallery.camids == 1) & (gallery.pids > 12))
    vectors[at] = np.roll(vectors[at], 1, axis=0)
    changed = Embeddings(vectors, gallery.table)
    matrix = camera_matrix(query, changed).set_index("gallery_camid")["rank1"]
    assert matrix[1] < matrix[2]
    found = failure_causes(evaluate(query, changed), query, changed).frame.set_index("pid")["hard_cameras"]
    assert found[FEW] and not found[ODD]


def test_what_is_not_known(sides: tuple[Embeddings, Embeddings]) -> None:
    bare = [Embeddings(side.vectors, side.table.drop(columns=["mask", "camid"])) for side in sides]
    found = failure_causes(evaluate(*bare), *bare)
    assert found.frame["covered"].isna().all() and not found.frame["occluded"].any()
    assert not found.frame["hard_cameras"].any() and "camid" not in found.frame
    what = found.summary.set_index("cause")["what"]
    assert "not known here: no masks" in what["occluded"] and "not known here: no cameras" in what["hard_cameras"]
    named = [Embeddings(side.vectors, side.table.assign(occluder="none")) for side in bare]
    named[0].table.loc[ODD, "occluder"] = "car"
    causes = failure_causes(evaluate(*named), *named).frame.set_index("pid")
    assert causes["occluded"].tolist() == [False] * 5 + [True]


def test_no_failure(sides: tuple[Embeddings, Embeddings]) -> None:
    query, gallery = sides
    right = Embeddings(np.eye(N, dtype=np.float32)[query.pids], query.table)
    found = failure_causes(evaluate(right, gallery), right, gallery)
    assert found.frame.empty and found.summary["failed"].sum() == 0
    assert "0 of 24 queries" in found.sentence() and "nan" not in found._repr_html_()


def test_shown(sides: tuple[Embeddings, Embeddings]) -> None:
    found = failure_causes(evaluate(*sides), *sides)
    assert "6 of 24 queries with a match have a wrong nearest image" in repr(found)
    assert "look_alike" in found._repr_html_() and "lowest 10% of queries" in found._repr_html_()


def test_mistakes(sides: tuple[Embeddings, Embeddings], tmp_path: Path) -> None:
    query, gallery = sides
    result = evaluate(query, gallery)
    for name in ("tail", "covered", "margin", "hard"):
        with pytest.raises(UserError, match=f"{name}=1.5"):
            failure_causes(result, query, gallery, **{name: 1.5})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="few=-1"):
        failure_causes(result, query, gallery, few=-1)
    with pytest.raises(UserError, match="give the embeddings that were evaluated"):
        failure_causes(result, gallery, gallery)
    with pytest.raises(UserError, match="was made under the rule 'no_camera', not 'official'"):
        failure_causes(replace(result, rule="no_camera"), query, gallery)
    with pytest.raises(UserError, match="is of 7 gallery images and these are 47"):
        failure_causes(replace(result, n_gallery=7), query, gallery)
    broken = query.table.copy()
    broken.loc[3, "path"] = str(tmp_path / "none.png")
    with pytest.raises(UserError, match=r"none\.png.*1 such queries"):
        failure_causes(result, Embeddings(query.vectors, broken), gallery)
    pathless = Embeddings(query.vectors, query.table.drop(columns="path"))
    with pytest.raises(UserError, match="need the column path"):
        failure_causes(result, pathless, gallery)
