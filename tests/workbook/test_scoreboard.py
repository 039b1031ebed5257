"""Tables of results come from manifests alone; the floor is what a histogram scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reidlab import store
from reidlab.errors import UserError
from reidlab.retrieval import Embeddings
from reidlab.stages.floor import PERSON, WHOLE, histogram_floor
from reidlab.workbook.scoreboard import results_table, write_results

SCORES = {"rank1": 0.5, "rank5": 0.7, "rank10": 0.8, "mAP": 0.25, "mINP": 0.1}
MODEL = {
    "label": "set-net",
    "recipe": "net",
    "height": 128,
    "width": 64,
    "dim": 8,
    "parameters": 1234567,
    "macs": 7654321,
    "epochs": 50,
    "best_epoch": 49,
    "best_val_map": 0.6,
    "trained_on": "another set",
    "minutes": 43.9,
    "precision": "bfloat16",
    "seed": 0,
    "git": {"commit": "abcdef0123456", "dirty": True},
    "machine": {"cores": 2, "cpu": "some processor"},
}


def evaluation(
    mean_ap: float = 0.25,
    *,
    flip: bool = False,
    projection: str = "",
    metric: str = "cosine",
    options: dict[str, str] | None = None,
    conditions: dict[str, Any] | None = None,
    **model: Any,
) -> store.Run:
    def make(_folder: Path) -> dict[str, Any]:
        return {
            "scores": {**SCORES, "mAP": mean_ap},
            "intervals": {"rank1": [0.4, 0.6]},
            "flip": flip,
            "projection": projection,
            "notes": ["seen once"],
            "options": options or {},
            "conditions": conditions or {},
            "model": {**MODEL, **model},
        }

    params = {
        "dataset": "set",
        "metric": metric,
        "ap": "plain",
        "about": [mean_ap, flip, projection, sorted(model), options],
    }
    return store.stage("evaluation", "set-net", params=params, make=make)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "2 cores some processor, bfloat16"),
        ({"precision": None}, "2 cores some processor"),
        ({"machine": None}, ""),
    ],
)
def test_what_a_model_was_trained_on_as_far_as_it_is_known(model: dict[str, Any], said: str) -> None:
    evaluation(**model)
    assert results_table("set").iloc[0]["machine"] == said


def test_a_model_whose_card_is_short() -> None:
    run = evaluation()
    short = {
        name: run.result["model"][name] for name in ("label", "height", "width", "dim", "parameters", "macs", "machine")
    }
    again = store.stage(
        "evaluation", "short", params=run.params | {"metric": "euclidean"}, make=lambda _: run.result | {"model": short}
    )
    row = results_table("set", [again.path.name]).iloc[0]
    assert (row["model"], row["machine"], row["trained on"]) == ("set-net", "2 cores some processor", "")


def test_a_row_says_what_the_manifest_says() -> None:
    evaluation()
    row = results_table("set").iloc[0]
    assert (row["R1"], row["mAP"], row["R1 low"], row["R1 high"]) == (50, 25, 40, 60)
    assert np.isnan(row["mAP low"])
    assert (row["commit"], row["parameters"], row["epochs"]) == ("abcdef0+", 1234567, "50 (best 49)")
    assert (row["trained on"], row["machine"]) == ("another set", "2 cores some processor, bfloat16")


def test_the_last_epoch_where_none_was_chosen() -> None:
    evaluation(best_val_map=None)
    assert results_table("set")["epochs"].tolist() == ["50 (last)"]


def test_without_cameras_the_protocol_is_another() -> None:
    evaluation(conditions={"camera_rule": False})
    assert "No camera is known" in results_table("set")["notes"][0][-1]


def test_what_a_training_had_beside_its_data_is_said_once(tmp_path: Path) -> None:
    evaluation(weights="a.pth: 3 tensors loaded", start="seen once", teachers="one, two")
    notes = results_table("set")["notes"][0]
    assert notes == [
        "seen once",
        "The training began from pretrained weights: a.pth: 3 tensors loaded.",
        "The training began from seen once.",
        "It learnt from teachers too: one, two.",
    ]
    assert (
        "- net: It learnt from teachers too: one, two.\n"
        in write_results("set", output=tmp_path / "set.md").read_text()
    )


def test_one_data_set_read_in_two_ways_gives_two_rows(tmp_path: Path) -> None:
    evaluation(0.2, options={"boxes": "labeled"})
    evaluation(0.3, options={"boxes": "detected"})
    assert results_table("set")["options"].tolist() == ["boxes=detected", "boxes=labeled"]
    assert "| net, boxes=detected | 50.00" in write_results("set", output=tmp_path / "set.md").read_text()


def test_a_projection_is_another_row(tmp_path: Path) -> None:
    evaluation(0.2)
    evaluation(0.3, projection="LDA 2")
    target = tmp_path / "set.md"
    text = write_results("set", output=target).read_text()
    assert "| net, LDA 2 | 50.00" in text and "| net | 50.00" in text and "- net, LDA 2: seen once" in text
    assert write_results("set", output=target).read_text() == text  # and none of them is lost


def test_saved_models_of_one_name_give_two_rows() -> None:
    evaluation(0.2, label="model", digest="a")
    evaluation(0.3, label="model", digest="b")
    assert len(results_table("set")) == 2


def test_rows_of_other_machines_are_not_lost(tmp_path: Path) -> None:
    target = tmp_path / "set.md"
    run = evaluation(0.2, label="other", recipe="other", seed=3)
    evaluation(0.3, recipe="published", **dict.fromkeys(("epochs", "minutes", "seed", "git", "machine")))
    write_results("set", output=target)
    before = target.read_text()
    write_results("set", output=target)  # the same rows: nothing is lost
    assert target.read_text() == before
    evaluation(0.4, label="third", recipe="third")
    store.remove_run(run.path.name)
    with pytest.raises(UserError, match=r"1 row whose runs are not here: other with mAP 20.0000\. .*--force"):
        write_results("set", output=target)
    assert target.read_text() == before
    assert "third" in write_results("set", output=target, force=True).read_text()


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    evaluation()
    with pytest.raises(UserError, match=r"give a \.md file"):
        write_results("set", output=tmp_path / "table.csv")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(UserError, match=r"folder\.md cannot be written"):
        write_results("set", output=tmp_path / "folder.md")


def test_best_first_and_the_newest_of_each_model() -> None:
    evaluation(0.2)
    evaluation(0.3)  # the same model and protocol, later
    evaluation(0.1, label="other", recipe="other")
    evaluation(0.4, flip=True)
    table = results_table("set")
    assert table["mAP"].tolist() == pytest.approx([40, 30, 10])


def test_written_table(tmp_path: Path) -> None:
    run = evaluation()
    target = write_results("set", [run.path.name], tmp_path / "deep" / "set.md")
    text = target.read_text()
    assert "| net | 50.00 (40.0 to 60.0) |" in text
    assert "1,234,567" in text and "- net: seen once" in text
    assert pd.read_csv(target.with_suffix(".csv"))["R1"].tolist() == [50]


def test_a_published_model_has_no_training_facts() -> None:
    nothing = {"epochs": None, "minutes": None, "seed": None, "git": None, "machine": None}
    evaluation(label="published", recipe="published net.pth", **nothing)
    row = results_table("set").iloc[0]
    assert row["epochs"] == "" and row["commit"] == ""


def test_wrong_runs_are_refused() -> None:
    with pytest.raises(UserError, match="no evaluation on set"):
        results_table("set")
    run = evaluation()
    with pytest.raises(UserError, match="not an evaluation on other"):
        results_table("other", [run.path.name])


@pytest.fixture
def coloured(tmp_path: Path) -> Embeddings:
    """Three people of one colour each before a noisy wall, in two cameras; masks know where they stand."""
    rng = np.random.default_rng(0)
    rows = []
    for pid, colour in enumerate([(250, 20, 20), (20, 250, 20), (20, 20, 250)]):
        for camid, split in ((1, "query"), (2, "gallery")):
            image = rng.integers(0, 256, (128, 64, 3), dtype=np.uint8)
            mask = np.zeros((128, 64), np.uint8)
            image[40:90, 20:44], mask[40:90, 20:44] = colour, 1
            stem = tmp_path / f"{pid}_{camid}"
            Image.fromarray(image).save(f"{stem}.png")
            Image.fromarray(mask).save(f"{stem}_mask.png")
            rows.append([f"{stem}.png", pid, camid, split, f"{stem}_mask.png"])
    table = pd.DataFrame(rows, columns=["path", "pid", "camid", "split", "mask"]).assign(
        sequence=-1, frame=-1, dataset="coloured"
    )
    return Embeddings(np.ones((len(table), 2), np.float32), table)


def test_floor_of_the_person_alone(coloured: Embeddings, own_data: Path) -> None:
    floor = histogram_floor(coloured).set_index("floor")
    assert floor.loc[PERSON, "mAP"] == 1
    assert set(floor.index) == {WHOLE, PERSON}


def test_floor_without_masks(coloured: Embeddings, own_data: Path) -> None:
    plain = Embeddings(coloured.vectors, coloured.table.drop(columns=["mask", "camid"]))
    assert histogram_floor(plain)["floor"].tolist() == [WHOLE]


def test_names_stay_in_their_cell(tmp_path: Path) -> None:
    evaluation(label="a", recipe="a|b\n<img src=x> & c")
    text = write_results("set", output=tmp_path / "set.md").read_text()
    assert "| a\\|b &lt;img src=x> &amp; c | 50.00" in text


def test_a_broken_table_of_before(tmp_path: Path) -> None:
    evaluation()
    (tmp_path / "set.csv").write_text("")
    with pytest.raises(UserError, match=r"set\.csv is not a table of results .*--force"):
        write_results("set", output=tmp_path / "set.md")
    assert "net" in write_results("set", output=tmp_path / "set.md", force=True).read_text()
