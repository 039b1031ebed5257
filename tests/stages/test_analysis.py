"""What notebook 04 keeps beside a score, and how it compares re-rankings and calibrates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reidlab import plots
from reidlab.errors import UserError
from reidlab.params import Retrieval
from reidlab.retrieval import Embeddings, evaluate
from reidlab.stages import Analysis, calibrate_for, calibrations_for, compare_rerankings, top_k_for
from reidlab.stages.data_run import DataRun
from reidlab.stages.notebooks import queries_for


class Kept:
    """As much of a run as an analysis needs."""

    def __init__(self, path: Path) -> None:
        self.path = path


def people(seed: int, split: str) -> Embeddings:
    """Return ten people in four cameras, whose vectors scatter."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(10, 8))
    rows = [(f"/{split}/{pid}_{cam}", pid, cam, split) for pid in range(10) for cam in range(4)]
    vectors = np.repeat(centres, 4, axis=0) + rng.normal(0, 1.1, (40, 8))
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "split"])
    return Embeddings(vectors.astype(np.float32), table)


@pytest.fixture
def sides() -> tuple[Embeddings, Embeddings]:
    return people(0, "query"), people(1, "gallery")


def test_everything_is_kept_in_the_folder_of_the_run(
    tmp_path: Path, sides: tuple[Embeddings, Embeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Any = Kept(tmp_path / "reports" / "runs" / "evaluation" / "x")
    run.path.mkdir(parents=True)
    keep = Analysis(run)
    result = evaluate(*sides, bootstrap=50)
    keep.scores(result)
    curve = keep.figure("cmc", plots.cmc_curve(result))
    assert plots.describe(curve)
    assert keep.table("again", pd.DataFrame({"a": [1]})).equals(pd.DataFrame({"a": [1]}))
    assert keep.text("summary", ["one", "two"]) == "one\ntwo"
    keep.text("summary", ["three"])
    folder = run.path / "analysis"
    assert sorted(path.name for path in folder.iterdir()) == sorted(keep.names)
    assert pd.read_csv(folder / "cmc_curve_data.csv")["cmc"].tolist() == pytest.approx(result.cmc.tolist())
    assert len(pd.read_csv(folder / "per_query.csv")) == 40
    assert (folder / "summary.txt").read_text() == "three\n"
    words = (folder / "analysis_summary.txt").read_text()
    assert f"mAP: {result.mean_ap:.2%}" in words and "same identity and camera ignored" in words
    assert (folder / "cmc.png").read_bytes().startswith(b"\x89PNG")
    assert keep.told().startswith(
        "Kept in reports/runs/evaluation/x/analysis: comprehensive_metrics.csv, cmc_curve_data.csv"
    )


def test_a_picture_per_query_shown(tmp_path: Path, sides: tuple[Embeddings, Embeddings]) -> None:
    run: Any = Kept(tmp_path)
    keep, p = Analysis(run), Retrieval()
    rng, tables, vectors = np.random.default_rng(0), [], []
    for side in sides:
        paths = []
        for name in side.table["path"]:
            path = tmp_path / "images" / f"{name.strip('/').replace('/', '_')}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (16, 8, 3), np.uint8)).save(path)
            paths.append(str(path))
        tables.append(side.table.assign(path=paths))
        vectors.append(side.vectors)
    both = Embeddings(np.concatenate(vectors), pd.concat(tables, ignore_index=True))
    result = evaluate(*sides)
    place = tmp_path / "analysis" / "visualizations"
    place.mkdir(parents=True)
    (place / "query_99999.png").write_bytes(b"of an earlier analysis")
    made = keep.queries(both, result, p)
    wanted = {row for how in ("worst", "random", "best") for row in queries_for(result, p, how)}
    assert sorted(made) == sorted(f"query_{row:05}.png" for row in wanted) == sorted(x.name for x in place.iterdir())
    with Image.open(place / made[0]) as picture:
        assert picture.width > 600 and "Queries: 1, each with its nearest images" in picture.text["Description"]  # type: ignore[attr-defined]
    assert keep.told().endswith(f"in visualizations {len(wanted)} queries, a picture each.")


def test_two_calibrations_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fitted(*args: object, method: str, **options: object) -> tuple[None, str]:
        asked.append(method)
        return None, f"fitted by {method}"

    monkeypatch.setattr("reidlab.stages.analysis.calibration_stage", fitted)
    found: Any = calibrations_for(None, None, Retrieval())  # type: ignore[arg-type]
    assert asked == ["logistic", "isotonic"]
    assert found == {"logistic (search uses it)": "fitted by logistic", "isotonic": "fitted by isotonic"}
    one: Any = calibrate_for(None, None, Retrieval())  # type: ignore[arg-type]
    assert one == "fitted by logistic" and asked[2:] == ["logistic"]


def test_a_run_that_is_gone(tmp_path: Path) -> None:
    run: Any = Kept(tmp_path / "gone")
    with pytest.raises(UserError, match="cannot be made"):
        Analysis(run).text("a", [])


def test_re_rankings_are_compared_with_none(sides: tuple[Embeddings, Embeddings]) -> None:
    frame = compare_rerankings(*sides, Retrieval())
    assert frame["re-ranking"].tolist() == ["none", "alpha_qe", "dba", "k_reciprocal"]
    for row in frame.to_dict("records"):
        method = "" if row["re-ranking"] == "none" else row["re-ranking"]
        found = evaluate(*sides, rerank=method)
        assert row["mAP (%)"] == round(100 * found.mean_ap, 1) and row["rank1 (%)"] == round(100 * found.cmc[0], 1)
        if method:
            plain = evaluate(*sides)
            assert row["difference"] == pytest.approx(100 * (found.mean_ap - plain.mean_ap), abs=0.06)
            low, high = map(float, row["95 % interval"].split(" to "))
            assert low <= row["difference"] <= high
            assert row["chance"] in ("yes", "no")


def test_the_first_k_images_in_per_cent(sides: tuple[Embeddings, Embeddings]) -> None:
    frame = top_k_for(*sides, Retrieval())
    result = evaluate(*sides)
    assert frame["first k"].tolist() == [1, 3, 5, 10]
    assert frame["CMC (%)"].tolist() == pytest.approx([100 * result.cmc[k - 1] for k in (1, 3, 5, 10)], abs=0.06)
    low, high = map(float, frame["95 % of CMC"][0].split(" to "))
    assert low <= frame["CMC (%)"][0] <= high and (frame["recall (%)"].diff().dropna() >= 0).all()


def test_where_a_gallery_is_too_large_none_is_tried(
    sides: tuple[Embeddings, Embeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reidlab.stages.analysis._MOST", 10)
    assert compare_rerankings(*sides, Retrieval())["re-ranking"].tolist() == ["none"]


def test_without_validation_identities_it_is_said(sides: tuple[Embeddings, Embeddings]) -> None:
    data: Any = DataRun.__new__(DataRun)
    object.__setattr__(data, "table", sides[0].table.assign(distractor=False))
    told = calibrate_for(data, None, Retrieval())  # type: ignore[arg-type]
    assert told == "A calibration is fitted on validation identities, and there are no two. Raise val_share."


def test_what_is_no_matter_of_calibration_is_raised(
    sides: tuple[Embeddings, Embeddings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise UserError("the code was edited")

    monkeypatch.setattr("reidlab.stages.analysis.calibration_stage", broken)
    with pytest.raises(UserError, match="the code was edited"):
        calibrate_for(None, None, Retrieval())  # type: ignore[arg-type]
