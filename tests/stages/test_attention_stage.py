"""Notebook 05's stage: which queries are measured, what they are compared with, kept figures and found results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_stages import make_people, prepared, save_random_model

from reidlab import stages
from reidlab.errors import UserError
from reidlab.params import Attention
from reidlab.plots.style import describe
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages import attention, attention_measures
from reidlab.stages.attention_measures import measured_images, references, summary_of, usual_methods
from reidlab.stages.models import model_from


def with_masks(table: Path) -> Path:
    """Add a mask beside each image: the person is its middle."""
    frame = pd.read_csv(table)
    names = []
    for path in frame["path"]:
        mask = np.zeros((32, 16), np.uint8)
        mask[4:28, 4:12] = 1
        name = Path("masks") / Path(path).name
        (table.parent / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(table.parent / name)
        names.append(str((table.parent / name).absolute()))
    frame.assign(mask=names).to_csv(table, index=False)
    return table


@pytest.fixture
def looking(tmp_path: Path, own_data: Path) -> Any:
    table = with_masks(make_people(tmp_path / "people"))
    data = prepared(table)
    source = model_from(str(save_random_model(tmp_path / "model")))
    p = Attention(methods=["activation", "gradcam"], queries=1, measured=4, steps=2, device="cpu")
    return stages.Looking(data, source, p)


def test_a_notebook_from_start_to_end(looking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = looking.measures
    assert list(found["method"].unique()) == ["activation", "gradcam", "uniform", "random", "centre"]
    assert len(found) == 5 * 4 and found["query"].nunique() == 4
    assert np.allclose(found["person"] + found["background"] + found["occluder"], 1)
    assert found.loc[found["method"] == "uniform", "deletion"].isna().all()
    assert found.loc[found["method"] != "uniform", ["deletion", "insertion"]].notna().all(axis=None)
    assert set(looking.curves["kind"]) == {"deletion", "insertion"} and len(looking.curves) == 4 * 2 * 3
    monkeypatch.setattr(attention_measures, "_measured", lambda *_: pytest.fail("it was measured before"))
    again = stages.Looking(looking.data, looking.source, looking.p)
    assert again.run.path == looking.run.path and again.measures.equals(found)
    for draw in (looking.grid, looking.panels, looking.pairs):
        assert len(describe(draw("worst"))) > 20
    table = stages.measures_table(looking)
    assert list(table["method"]) == ["activation", "gradcam", "uniform", "random", "centre"]
    folder = looking.run.path / "attention_maps"
    kept = {path.name.partition("_query")[0] for path in folder.iterdir()}
    assert {"worst_grid.png", "worst_pairs.png", "worst_pairs.txt", "worst_1", "measures.csv"} <= kept
    assert "The parts sum to the cosine" in (folder / "worst_pairs.txt").read_text()
    assert "attention_maps: worst_grid.png" in looking.keep.told()


def test_another_question_is_another_run(looking: Any) -> None:
    other = stages.Looking(looking.data, looking.source, looking.p.model_copy(update={"steps": 3}))
    assert other.run.path != looking.run.path and other.evaluated.path == looking.evaluated.path


def test_panels_without_gates_are_layers(looking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(looking._panel_maps()) == ["CBAM-4 spatial", "CBAM-5 spatial", "feature map"]
    from reidlab.models import build

    looking.model = build({"name": "resnet18", "height": 64, "width": 32}).eval()
    found = looking._panel_maps()
    assert list(found.values()) == [
        ("activation", "backbone.layer2.0"),
        ("activation", "backbone.layer2.1"),
        ("activation", "backbone.layer4.1"),
    ]


def test_who_is_measured() -> None:
    pids = np.array(["a"] * 5 + ["b"] * 2 + ["c"])
    valid = np.array([True] * 7 + [False])
    rows = measured_images(pids, valid, 4, seed=3)
    assert sorted(pids[rows]) == ["a", "a", "b", "b"], "everybody once before anybody twice"
    assert sorted(pids[measured_images(pids, valid, 2, seed=3)]) == ["a", "b"]
    assert len(measured_images(pids, valid, 100)) == 7 and 7 not in measured_images(pids, valid, 100)
    assert np.array_equal(measured_images(pids, valid, 3, seed=1), measured_images(pids, valid, 3, seed=1))


def test_what_a_query_is_compared_with() -> None:
    gallery = Embeddings(
        np.array([[3.0, 0], [0, 3], [1, 1]], np.float32),
        pd.DataFrame({"pid": ["a", "a", "b"], "camid": ["1", "2", "1"], "split": "gallery"}),
    )
    query = Embeddings(
        np.array([[1.0, 0], [0, 2]], np.float32),
        pd.DataFrame({"pid": ["a", "c"], "camid": ["1", "1"], "split": "query"}),
    )
    assert np.allclose(references(query, gallery), [[0, 1], [0, 1]]), "the other camera; nobody: itself"


def test_summaries_are_paired_with_chance() -> None:
    frame = pd.DataFrame(
        {
            "method": ["gradcam"] * 4 + ["uniform"] * 4 + ["random"] * 4,
            "query": [0, 1, 2, 3] * 3,
            "pid": list("aabb") * 3,
            "person": [0.6, 0.7, 0.8, np.nan, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3],
            "deletion": [0.2] * 4 + [np.nan] * 4 + [0.5] * 4,
        }
    )
    found = summary_of(frame, bootstrap=50).set_index(["method", "measure"])
    share = found.loc["gradcam", "person"]
    assert share["mean"] == pytest.approx(0.7) and share["better"] == pytest.approx(0.4) and share["images"] == 3
    assert share["low"] <= 0.7 <= share["high"] and share["against"] == "uniform"
    removed = found.loc["gradcam", "deletion"]
    assert removed["better"] == pytest.approx(0.3), "a low curve of deletion is the better one"
    assert removed["against"] == "random" and ("uniform", "deletion") not in found.index


def test_methods_that_are_asked_for(looking: Any) -> None:
    assert usual_methods(looking.model, ["gradcam", "gradcam", "occlusion"]) == ["gradcam", "occlusion"]
    assert "rollout" not in usual_methods(looking.model) and "cbam_spatial" in usual_methods(looking.model)
    with pytest.raises(UserError, match="gradcma"):
        Attention.from_values({"methods": ["gradcma"]})
    assert attention._as_retrieval(Attention(model="small", seed=3)).model == "small"
