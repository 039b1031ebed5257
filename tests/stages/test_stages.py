"""The notebooks' stages: found again, made anew when something changes, resumable, independent of where the data lies."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reidlab import stages
from reidlab.data.schema import load_table, save_table
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.saved import load_model, save_model
from reidlab.params import Retrieval, Training, TripletGeneration
from reidlab.registry import TRACKERS, Entry
from reidlab.retrieval.embedding import embed
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.projection import fit_lda
from reidlab.retrieval.vectors import PIXELS, Embeddings
from reidlab.stages.retrieval import VALIDATION_AS_TEST
from reidlab.stages.training import describe_model, trained_model
from reidlab.training.alarms import TrainingStopped
from reidlab.training.recipes import Recipe
from reidlab.workbook.names import check_names

LOOP: Any = importlib.import_module("reidlab.training.loop")
SPEC = {"name": "custom_cnn_v32", "height": 32, "width": 16}


def make_people(folder: Path, *, splits: bool = True, cameras: bool = True, n_people: int = 10) -> Path:
    """Write images and table.csv (relative paths): the last two people are query and gallery."""
    rng = np.random.default_rng(5)
    rows = []
    for pid in range(n_people):
        colour = rng.integers(20, 235, 3)
        for camera in range(2):
            for i in range(3):
                test = splits and pid >= n_people - 2
                split = ("query" if i == 0 else "gallery") if test else "train"
                path = Path("test" if test else "train") / f"p{pid}_c{camera}_{i}.png"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(colour + rng.normal(0, 25, (32, 16, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / path)
                rows.append((path.as_posix(), f"p{pid}", f"c{camera}", split))
    frame = pd.DataFrame(rows, columns=["path", "pid", "camid", "split"])
    dropped = ([] if splits else ["split"]) + ([] if cameras else ["camid"])
    frame.drop(columns=dropped).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def make_recipe(kind: str = "pk", **changes: Any) -> Recipe:
    terms = {"pk": {"name": "cross_entropy", "feature": "logits"}, "ehtm": {"name": "ehtm", "feature": "triplets"}}
    content = {
        "name": f"tiny-{kind}",
        "source": "a test",
        "expected": "nothing",
        "model": SPEC,
        "sampler": {"name": kind, "identities": 3, "images": 3},
        "losses": [terms[kind]],
        "epochs": 2,
        "validate_every": 1,
        "precision": "float32",
    }
    return Recipe.model_validate(content | changes)


@pytest.fixture
def people(tmp_path: Path, own_data: Path) -> Path:
    return make_people(tmp_path / "people")


def prepared(table: Path, **options: Any) -> stages.DataRun:
    return stages.data_stage("table", str(table), **options)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: images this small are no work for two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(data: stages.DataRun, recipe: Recipe | None = None, **options: Any) -> Any:
    return stages.training_stage(data, recipe or make_recipe(), device="cpu", progress=False, **options)


def evaluated(data: stages.DataRun, source: stages.ModelSource, **options: Any) -> Any:
    return stages.evaluation_stage(
        data, source, device="cpu", precision="float32", progress=False, **{"bootstrap": 20, **options}
    )


def save_random_model(folder: Path) -> Path:
    torch.manual_seed(0)
    save_model(build(SPEC), folder, {"spec": SPEC, "num_classes": 0})
    return folder


def test_data_is_found_again_and_made_anew_when_something_changes(people: Path) -> None:
    first = prepared(people)
    assert first.run.made and set(first.table["split"]) == {"train", "val", "query", "gallery"}
    again = prepared(people)
    assert not again.run.made and again.run.path == first.run.path and again.digest == first.digest
    pd.testing.assert_frame_equal(again.table, first.table)
    for changes in ({"val_share": 0.4}, {"seed": 1}, {"split": "image"}):
        other = prepared(people, **changes)
        assert other.run.made and other.run.path != first.run.path, changes
    assert (
        prepared(people, val_share=0.4)
        .table["pid"][lambda _: prepared(people, val_share=0.4).table["split"] == "val"]
        .nunique()
        == 3
    )
    assert not (prepared(people, val_share=0).table["split"] == "val").any()


def test_a_changed_data_set_is_another_stage(people: Path) -> None:
    first = prepared(people)
    (people.parent / "train" / "p0_c0_0.png").unlink()
    frame = pd.read_csv(people)
    frame[~frame["path"].str.endswith("p0_c0_0.png")].to_csv(people, index=False)
    second = prepared(people)
    assert second.run.made and len(second.table) == len(first.table) - 1


def test_mistakes_in_the_split(people: Path) -> None:
    with pytest.raises(UserError, match="split='identities' is unknown; choose identity, image or test_to_val"):
        prepared(people, split="identities")
    with pytest.raises(UserError, match="val_share"):
        prepared(people, val_share=1.5)


def test_the_notes_reach_the_reader(people: Path) -> None:
    data = prepared(people, split="image")
    assert any("share identities" in note for note in data.notes) and len(set(data.notes)) == len(data.notes)


def test_paths_follow_a_data_set_that_moves(people: Path, tmp_path: Path) -> None:
    first = prepared(people)
    digest = first.digest
    shutil.move(people.parent, tmp_path / "elsewhere" / "deeper")
    moved = prepared(tmp_path / "elsewhere" / "deeper" / "table.csv")
    assert not moved.run.made and moved.run.path == first.run.path and moved.digest == digest
    assert all(Path(path).is_file() for path in moved.table["path"])
    assert all(Path(path).is_file() for path in stages.audit_of(moved).table["path"])
    assert len(stages.audit_of(first).table) == len(first.table)


def test_paths_are_right_where_images_were_left_out(people: Path, tmp_path: Path) -> None:
    """All that is left may lie in a deeper folder than all that was read: that is no move."""
    frame = pd.read_csv(people)
    frame = frame[frame["split"] == "train"]
    (people.parent / "odd").mkdir()
    (people.parent / "odd" / "broken.png").write_text("no image")
    frame.loc[len(frame)] = ["odd/broken.png", "p0", "c0", "train"]
    frame.to_csv(people, index=False)
    for _ in range(2):
        data = prepared(people)
        assert len(data.table) == len(frame) - 1 and all(Path(path).is_file() for path in data.table["path"])
    shutil.move(people.parent, tmp_path / "x")
    data = prepared(tmp_path / "x" / "table.csv")
    assert not data.run.made and all(Path(path).is_file() for path in data.table["path"])


def test_masks_move_with_their_images_and_other_text_stays(people: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(people)
    frame["mask"] = [str(people.parent / path) if i else "" for i, path in enumerate(frame["path"])]
    frame["path"] = [str(people.parent / path) for path in frame["path"]]
    frame.to_csv(people, index=False)
    prepared(people)
    home = tmp_path / "y"
    shutil.move(people.parent, home)
    frame["path"] = [path.replace(str(people.parent), str(home)) for path in frame["path"]]
    frame.to_csv(home / "table.csv", index=False)
    moved = prepared(home / "table.csv")
    assert not moved.run.made
    masks = [m for m in moved.table["mask"] if isinstance(m, str) and m]
    assert len(masks) == len(frame) - 1 and all(Path(m).is_file() for m in masks)


def test_the_built_in_data_set_is_drawn_once(own_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Path] = []

    def draw(folder: Path, spec: Any, workers: int | None = None) -> Path:
        drawn.append(folder)
        return make_people(tmp_path / "people").parent

    monkeypatch.setattr("reidlab.pedestrians.make.make_pedestrians", draw)
    monkeypatch.setattr("reidlab.stages.data.read", lambda name, root: pd.read_csv(root / "table.csv"))
    from reidlab.stages.data import source_table

    source_table("pedestrians", seed=4)
    assert drawn[0].parent == own_data / "cache" and drawn[0].name.startswith("pedestrians-4-")


def test_a_run_from_images_to_scores(people: Path, tmp_path: Path) -> None:
    data = prepared(people)
    run = train(data, seed=2)
    assert run.made and run.stage == "training" and not train(data, seed=2).made and train(data, seed=3).made
    assert {"model", "history.parquet", "manifest.json"} <= {p.name for p in run.path.iterdir()}
    assert not (run.path / "checkpoints").exists()
    assert run.result["dim"] == 128 and run.result["num_classes"] == 6 and run.result["height"] == 32
    assert len(stages.history_of(run)) == 2
    source = stages.model_from_run(run)
    assert source.facts["recipe"] == "tiny-pk" and source.facts["trained_on"] == "table" and source.facts["seed"] == 2

    made, result, vectors = evaluated(data, source)
    table, notes = stages.query_gallery(data.table)
    assert notes == () and set(table["split"]) == {"query", "gallery"}
    direct = embed(trained_model(run), table, device="cpu", progress=False)
    np.testing.assert_array_equal(vectors.vectors, direct.vectors)
    query, gallery = direct.split("query"), direct.split("gallery")
    expected = evaluate(
        query.vectors,
        gallery.vectors,
        query_pids=query.pids,
        gallery_pids=gallery.pids,
        query_camids=query.camids,
        gallery_camids=gallery.camids,
        bootstrap=20,
    )
    assert result.scores() == expected.scores() == made.result["scores"]
    assert made.result["model"]["label"] == run.path.name and result.intervals == expected.intervals
    assert not evaluated(data, source)[0].made and evaluated(data, source, metric="euclidean")[0].made
    flipped = evaluated(data, source, flip=True)
    assert flipped[0].made and not np.array_equal(flipped[2].vectors, vectors.vectors)
    projected = evaluated(data, source, projection_dim=2)
    seen = data.table[data.table["split"] == "train"]
    known = embed(source.load(), seen.reset_index(drop=True), device="cpu", progress=False)
    np.testing.assert_allclose(
        projected[2].vectors, fit_lda(known.vectors, known.pids, dim=2)(vectors.vectors), atol=1e-5
    )
    told, plain = projected[0].result, made.result
    assert (told["projection"], plain["projection"]) == ("LDA 2", "") and told["model"]["dim"] == 2
    extra = 2 * plain["model"]["dim"]
    assert all(told["model"][name] == plain["model"][name] + extra for name in ("parameters", "macs"))
    assert "by discriminant analysis" in told["notes"][0] and projected[0].path != made.path
    nobody = dataclasses.replace(data, table=data.table[data.table["split"] != "train"].reset_index(drop=True))
    with pytest.raises(UserError, match="no training images, and a projection is learnt from them"):
        evaluated(nobody, source, projection_dim=2)


@pytest.mark.parametrize(("splits", "cameras"), [(False, False), (False, True)])
def test_user_data_without_query_or_cameras(tmp_path: Path, own_data: Path, splits: bool, cameras: bool) -> None:
    data = prepared(make_people(tmp_path / "own", splits=splits, cameras=cameras), val_share=0.3)
    assert ("camid" in data.table) == cameras and any("No split" in note for note in data.notes)
    run = train(data)
    assert run.result["best_val_map"] > 0
    made, result, vectors = evaluated(data, stages.model_from_run(run))
    assert VALIDATION_AS_TEST in made.result["notes"] and set(data.notes) <= set(made.result["notes"])
    assert 0 < result.mean_ap <= 1 and set(vectors.pids) == set(data.table["pid"][data.table["split"] == "val"])
    other = evaluated(data, stages.model_from_run(run), seed=1)
    assert other[0].made and np.array_equal(other[2].vectors, vectors.vectors), "other queries, the same embeddings"


def test_a_query_in_its_own_gallery_is_no_answer(tmp_path: Path, own_data: Path) -> None:
    """Noise without cameras, each query a copy of a gallery image: by chance, not all, are found."""
    rows = []
    for pid in range(12):
        for i in range(3):
            path = tmp_path / "noise" / f"{pid}_{i}.png"
            path.parent.mkdir(exist_ok=True)
            if i < 2:
                pixels = np.random.default_rng(100 * pid + i).integers(0, 256, (32, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)  # the third is a copy of the second
            rows.append((str(path), pid, ("train", "gallery", "query")[i] if pid > 3 else "train"))
        if pid > 3:
            rows.append((str(path.with_name(f"{pid}_0.png")), pid, "gallery"))
    pd.DataFrame(rows, columns=["path", "pid", "split"]).to_csv(tmp_path / "noise" / "table.csv", index=False)
    data = prepared(tmp_path / "noise" / "table.csv", val_share=0)
    source = stages.model_from(str(save_random_model(tmp_path / "m")))
    made, result, vectors = evaluated(data, source)
    assert result.n_same_image == 8 == made.result["conditions"]["n_same_image"] and result.rank1 < 0.9
    assert (result.per_query["n_matches"] == 1).all() and (result.per_query["n_ignored"] == 1).all()
    unknown = Embeddings(vectors.vectors, vectors.table.drop(columns=["path", PIXELS]))
    assert evaluate(unknown.split("query"), unknown.split("gallery")).rank1 == 1
    assert stages.audit_of(data).summary["count"]["query_in_gallery"] == 8


def test_cameras_written_in_two_ways_are_said(people: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(people)
    frame.loc[frame["split"] == "query", "camid"] = frame["camid"].str.replace("c", "c0")
    frame.to_csv(people, index=False)
    made = evaluated(prepared(people), stages.model_from(str(save_random_model(tmp_path / "m"))))[0]
    assert any(
        note.startswith("Query and gallery have no camera in common (query 'c00'") for note in made.result["notes"]
    )


def test_nothing_to_score(tmp_path: Path, own_data: Path) -> None:
    data = prepared(make_people(tmp_path / "own", splits=False), val_share=0)
    with pytest.raises(UserError, match="0 validation identities; two are needed to score anything"):
        stages.query_gallery(data.table)
    with pytest.raises(UserError, match=r"1 identities; two are needed to score anything\. Add images"):
        stages.query_gallery(data.table[data.table["pid"] == data.table["pid"].iloc[0]], everybody=True)


def test_a_model_from_elsewhere_is_scored_on_all_identities(tmp_path: Path, own_data: Path) -> None:
    data = prepared(make_people(tmp_path / "own", splits=False))
    run, result, vectors = evaluated(data, stages.model_from("small"))
    assert set(vectors.pids) == set(data.table["pid"]) and result.n_query > 2
    assert sum("all its identities are scored" in note for note in run.result["notes"]) == 1
    own = evaluated(data, stages.model_from(str(save_random_model(tmp_path / "m"))))
    assert own[1].n_query < result.n_query and len(own[2]) < len(vectors)
    (run,) = {evaluated(data, stages.model_from("small"))[0].path.name for _ in range(2)}


def test_where_models_come_from(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(people)
    run = train(data, name="my first")
    assert run.path.name.startswith("my-first-")
    for given in (run.path.name, f"training/{run.path.name}", run.digest[:8]):
        source = stages.model_from(given)
        assert source.digest == run.digest and source.label == run.path.name
    by_folder = stages.model_from(str(run.path))
    for source in (by_folder, stages.model_from(str(run.path / "model"))):
        state = source.load().state_dict()
        assert all(torch.equal(state[k], v) for k, v in load_model(run.path / "model").state_dict().items())
    with pytest.raises(UserError, match="is of stage 'data'; a model comes from a training run"):
        stages.model_from(data.run.path.name)


def test_models_that_are_not_there(tmp_path: Path, own_data: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.pth").write_bytes(b"nonsense")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    for given, words in [
        ("nonsense", "There is no run 'nonsense'"),
        ("", "No model is named"),
        (str(tmp_path / "empty"), "empty holds no saved model .*Train one with notebook 03"),
        (str(tmp_path / "gone.pth"), "there is no file of weights .*gone.pth"),
        (str(tmp_path / "weights.pth"), "weights.pth is not readable"),
        (str(tmp_path / "other.pt"), "matches 0 of"),
    ]:
        with pytest.raises(UserError, match=words):
            stages.model_from(given)
    for given, words in [
        (f"osnet_x0_52:{tmp_path / 'other.pt'}", "model 'osnet_x0_52' is unknown.*Did you mean 'osnet_x0_5'"),
        (f"osnet_x0_25:{tmp_path / 'gone.pth'}", "there is no file of weights .*gone.pth"),
        (f"osnet_x0_25:{tmp_path / 'other.pt'}", r"other.pt: only 0% of the model's tensors match"),
        (f"lightmbn:{tmp_path / 'other.pt'}", r"other.pt: only 0% .*less than min_match=95%"),
        ("osnet_x0_25:nonsense", "There is no run 'osnet_x0_25:nonsense'"),
    ]:
        with pytest.raises(UserError, match=words):
            stages.model_from(given)
    damaged = save_random_model(tmp_path / "damaged")
    (damaged / "config.json").write_text("{}")
    with pytest.raises(UserError, match="damaged holds no saved model"):
        stages.model_from(str(damaged)).load()


def test_a_published_file(people: Path, tmp_path: Path) -> None:
    renamed = {"stage2.body": "conv2", "stage3.body": "conv3", "stage4.body": "conv4", "stage5.body": "conv5"}
    renamed |= {"stage2.skip": "skip_16_to_32", "stage3.skip": "skip_32_to_64", "stage4.skip": "skip_64_to_128"}
    renamed |= {"stage5.skip": "skip_128_to_256", "head": "fc_global", "part_heads": "fc_parts"}
    torch.manual_seed(1)
    network: Any = build("custom_cnn_v32").network
    state = {}
    for name, tensor in network.state_dict().items():
        prefix = next((p for p in renamed if name.startswith(p + ".")), None)
        state[renamed[prefix] + name[len(prefix) :] if prefix else name] = tensor
    torch.save(state, tmp_path / "reid_model_3.2.pth")
    source = stages.model_from(str(tmp_path / "reid_model_3.2.pth"))
    assert source.label == "reid_model_3.2" and "tensors loaded, 0 missing" in source.notes[0]
    made, result, _ = evaluated(prepared(people), source)
    assert source.notes[0] in made.result["notes"] and made.result["model"]["recipe"] == "published reid_model_3.2.pth"
    assert 0 <= result.mean_ap <= 1


def test_training_on_the_triplets_of_a_run(people: Path) -> None:
    data, recipe = prepared(people), make_recipe("ehtm", epochs=1)
    drawn = stages.triplets_for(data, TripletGeneration(per_anchor=3))[0]
    by_name = stages.train_for(data, recipe, Training(triplets=drawn.path.name, device="cpu"))
    usual = stages.train_for(data, recipe, Training(device="cpu"))
    assert by_name.made and by_name.digest != usual.digest
    with pytest.raises(UserError, match="is a run of stage 'training'"):
        stages.train_for(data, recipe, Training(triplets=usual.path.name))
    with pytest.raises(UserError, match="were drawn from other data than this"):
        stages.train_for(prepared(people, val_share=0.5), recipe, Training(triplets=drawn.path.name))
    with pytest.raises(UserError, match="recipe tiny-pk does not train on given triplets"):
        stages.train_for(data, make_recipe(), Training(triplets=drawn.path.name))


def test_training_that_begins_from_a_run(people: Path) -> None:
    data = prepared(people)
    first = train(data)
    recipe = make_recipe(start=first.path.name, epochs=1)
    second = train(data, recipe)
    assert second.made and not train(data, recipe).made
    (note,) = stages.training_notes(second)
    assert note.startswith(f"Began from {first.path.name}: ") and "0 missing" in note
    assert stages.model_from_run(second).notes == (f"The training {note[0].lower()}{note[1:]}.",)
    with pytest.raises(UserError, match="is a run of stage 'data'"):
        train(data, make_recipe(start=data.run.path.name))


def test_training_that_learns_from_a_run(people: Path) -> None:
    data = prepared(people)
    first, second = train(data), train(data, make_recipe(optimizer={"lr": 5e-3}))
    terms = [{"name": "kd", "feature": "logits"}]
    run = train(data, make_recipe(losses=terms, teachers=[first.path.name], epochs=1))
    assert run.made and not train(data, make_recipe(losses=terms, teachers=[first.path.name], epochs=1)).made
    assert stages.training_notes(run) == [f"Teachers: {first.path.name}"]
    assert stages.model_from_run(run).notes == (f"It learnt from teachers too: {first.path.name}.",)
    weights = second.path / "model" / "model.safetensors"
    (first.path / "model" / "model.safetensors").write_bytes(weights.read_bytes())  # others under the same name
    assert train(data, make_recipe(losses=terms, teachers=[first.path.name], epochs=1)).made
    with pytest.raises(UserError, match=r"learns from a teacher, and none is named"):
        train(data, make_recipe(losses=terms))


def test_recipes_with_teachers_of_the_notebook(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: custom_cnn_best\nteachers: other\nlosses: [{name: kd, feature: logits}]\n")
    assert stages.recipe_for(Training(recipe=str(file))).teachers == ("other",)
    with pytest.raises(UserError, match="recipe: There is no run 'other'"):
        check_names(Training(recipe=str(file)), ["recipe"])
    assert stages.recipe_for(Training(recipe="custom_cnn_best")).teachers == ()


def test_weights_that_a_start_replaces_are_not_claimed(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(people)
    model = {"name": "osnet_x0_25", "neck": "bnneck", "height": 64, "width": 32}
    first = train(data, make_recipe(model=model, epochs=1))
    run = train(data, make_recipe(model={**model, "weights": "gone.pth"}, start=first.path.name, epochs=1))
    assert "weights" not in run.result and run.result["start"].startswith(first.path.name)


def test_what_a_found_training_did_not_take_is_said(people: Path) -> None:
    data, p = prepared(people), Training(name="mine", tracking=["tensorboard"])
    train(data)
    assert stages.training_notes(train(data)) == [] == stages.training_notes(train(data), Training())
    (note,) = stages.training_notes(train(data), p)
    assert "done before as" in note and "name and tracking had no effect" in note


def test_validation_images_of_the_data_set_itself_are_said(people: Path) -> None:
    assert not any("of its own" in note for note in prepared(people).notes)
    frame = pd.read_csv(people)
    frame.loc[frame["pid"] == "p0", "split"] = "val"
    frame.to_csv(people, index=False)
    data = prepared(people, val_share=0)
    assert any("val_share` have no effect" in note for note in data.notes)
    assert set(data.table.loc[data.table["split"] == "val", "pid"]) == {"p0"}


def test_published_weights_of_any_model(tmp_path: Path, own_data: Path) -> None:
    torch.manual_seed(3)
    images = torch.rand(2, 3, 64, 32)
    for name in ("osnet_x0_25", "resnet18"):
        trained: Any = build(name).eval()
        file = tmp_path / f"{name}.pth"
        torch.save(trained.backbone.state_dict(), file)
        source = stages.model_from(f"{name}:{file}")
        assert source.label == f"{name}-{name}" and f"{file.name}: " in source.notes[0]
        loaded = source.load()
        assert not loaded.training and source.facts["recipe"] == f"published {file.name}"
        with torch.inference_mode():
            np.testing.assert_array_equal(loaded.maps(images), trained.maps(images))
    assert source.digest != stages.model_from(f"timm/resnet18:{file}").digest, "the same file as another model"


def test_published_weights_of_a_model_with_branches(tmp_path: Path, own_data: Path) -> None:
    whole: Any = build("lightmbn").eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    loaded = stages.model_from(f"lightmbn:{tmp_path / 'whole.pth'}").load().state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in whole.state_dict().items())
    torch.save(whole.backbone.state_dict(), tmp_path / "backbone.pth")
    with pytest.raises(UserError, match=r"backbone\.pth: only 0% of the model's tensors match"):
        stages.model_from(f"lightmbn:{tmp_path / 'backbone.pth'}")


def test_trackers_show_the_name_of_the_run_and_change_no_digest(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, Path]] = []
    tracker = MagicMock(**{"logged.return_value": set()})

    def begin(name: str, folder: Path, params: dict[str, Any], fresh: bool) -> Any:
        seen.append((name, folder))
        return tracker

    monkeypatch.setitem(globals(), "begin", begin)
    monkeypatch.setitem(TRACKERS._own, "memory", Entry("memory", f"{__name__}:begin", "in memory"))
    data = prepared(people)
    run = train(data, make_recipe(epochs=1), name="my run", tracking=["memory"])
    assert [name for name, _ in seen] == [run.path.name] and seen[0][1].parent == run.path.parent
    assert [call.args[0] for call in tracker.write.call_args_list] == [1]
    assert not train(data, make_recipe(epochs=1)).made
    with pytest.raises(UserError, match=r"tracker 'wandb' is unknown"):
        train(data, make_recipe(epochs=1), tracking=["wandb"])


@pytest.mark.parametrize("strategy", ["random", "same_camera_negative", "hard"])
def test_triplets_lie_in_the_training_table(people: Path, strategy: str) -> None:
    data = prepared(people)
    table = stages.training_table(data)
    vectors = np.random.default_rng(0).normal(size=(len(table), 4)).astype(np.float32)
    given = {"embeddings": vectors, "embeddings_digest": "abc"} if strategy == "hard" else {}
    run, triplets = stages.triplet_stage(data, strategy=strategy, seed=1, per_anchor=2, **given)  # type: ignore[arg-type]
    frame = triplets.frame
    assert run.made and len(frame) == 2 * (table["split"] == "train").sum() == run.result["triplets"]
    for column in ("anchor", "positive", "negative"):
        assert (table["split"].to_numpy()[frame[column]] == "train").all(), "val people are never learnt"
    pids = table["pid"].to_numpy()
    assert (pids[frame["anchor"]] == pids[frame["positive"]]).all() and (frame["anchor"] != frame["positive"]).all()
    assert (pids[frame["anchor"]] != pids[frame["negative"]]).all()
    assert (pids[frame["anchor"]] == frame["anchor_pid"]).all()
    again, same = stages.triplet_stage(data, strategy=strategy, seed=1, per_anchor=2, **given)  # type: ignore[arg-type]
    assert not again.made and same.digest == triplets.digest


def test_triplet_mistakes(people: Path) -> None:
    data = prepared(people)
    with pytest.raises(UserError, match="needs the embeddings of a trained model"):
        stages.triplet_stage(data, strategy="hard")
    with pytest.raises(UserError, match="3 embeddings do not belong to 48 train and val images"):
        stages.triplet_stage(data, strategy="hard", embeddings=np.zeros((3, 2)), embeddings_digest="abc")
    with pytest.raises(UserError, match="Did you mean 'random'"):
        stages.triplet_stage(data, strategy="randm")


def test_training_on_given_triplets(people: Path) -> None:
    data = prepared(people)
    triplets = stages.triplet_stage(data, seed=0)[1]
    run = train(data, make_recipe("ehtm", epochs=1), triplets=triplets)
    other = train(data, make_recipe("ehtm", epochs=1), triplets=stages.triplet_stage(data, seed=9)[1])
    assert run.made and other.made and run.digest != other.digest and run.result["num_classes"] == 0


def test_a_failed_training_goes_on(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(people)
    recipe = make_recipe(epochs=3)
    seen = []

    def fail(*args: Any) -> None:
        seen.append(args[1])
        if args[1] == 3:
            raise TrainingStopped("enough")

    with monkeypatch.context() as patch, pytest.raises(TrainingStopped, match="enough") as caught:
        patch.setattr(LOOP, "check_finite", fail)
        train(data, recipe)
    assert "the next run goes on from there" in caught.value.__notes__[0]
    epochs = []
    with monkeypatch.context() as patch:
        patch.setattr(LOOP, "check_collapse", lambda epoch, *_: epochs.append(epoch))
        run = train(data, recipe)
    assert epochs == [3] and run.made and run.manifest["attempts"] == 2
    assert stages.history_of(run)["epoch"].tolist() == [1, 2, 3]


def test_few_images_are_said(people: Path) -> None:
    recipe = make_recipe(sampler={"name": "pk", "identities": 3, "images": 8}, epochs=1)
    assert stages.training_notes(train(prepared(people), recipe))[0].startswith("6 of 6 identities have fewer than 8")


def test_words_about_a_recipe_change_no_run(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(people)
    with monkeypatch.context() as stopped:  # in the second epoch
        stopped.setattr(LOOP, "check_finite", MagicMock(side_effect=[None] * 3 + [KeyboardInterrupt]))
        with pytest.raises(KeyboardInterrupt):
            train(data, make_recipe(epochs=4, expected="nothing"))
    run = train(data, make_recipe(epochs=4, expected="a lot", source="another hand"))
    assert run.manifest["attempts"] == 2
    assert not train(data, make_recipe(epochs=4)).made


def test_a_file_of_weights_is_an_input(people: Path, tmp_path: Path) -> None:
    spec = {"name": "osnet_x0_25", "height": 32, "width": 16, "feature_dim": 0}
    weights = tmp_path / "w.pth"
    recipe = make_recipe(model=spec | {"weights": str(weights)}, epochs=1)
    data = prepared(people)
    with pytest.raises(UserError, match=r"w\.pth does not exist.*torchreid"):
        train(data, recipe)
    for width in (0.5, 1.0):
        state = build(spec).backbone.state_dict()
        torch.save({name: width * value for name, value in state.items()}, weights)
        run = train(data, recipe)
        assert run.made and "0 missing" in stages.training_notes(run)[0]
        assert not train(data, recipe).made
    weights.unlink()
    assert trained_model(run).preprocess.mean == (0.485, 0.456, 0.406)


def test_killed_between_the_model_and_the_name(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fit had finished, its folder was not renamed yet: nothing is trained again."""
    data = prepared(people)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("reidlab.stages.training.describe_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(data)
    with monkeypatch.context() as patch:
        patch.setattr(LOOP._Training, "_epoch", lambda *_: pytest.fail("trained again"))
        run = train(data)
    assert run.made and run.result["epochs"] == 2


def test_training_never_opens_query_or_gallery(people: Path) -> None:
    data = prepared(people)
    for path in data.table["path"][data.table["split"].isin(["query", "gallery"])]:
        size = Path(path).stat().st_size
        Path(path).write_bytes(b"\0" * size)  # as large as before: the table is the same, the picture is none
    assert train(data).made


def test_counts_of_a_model() -> None:
    plain, with_classes = (describe_model(build({**SPEC, "neck": "bnneck"}, n)) for n in (0, 7))
    assert plain == with_classes, "classifiers make no embedding"
    assert plain["dim"] == 128 and plain["macs"] > 1e6


def params(kind: Callable[..., Any], people: Path, **changes: Any) -> Any:
    return kind(dataset="table", root=str(people), **changes)


def test_what_the_notebooks_call(people: Path, tmp_path: Path) -> None:
    data = prepared(people)
    recipe_file = tmp_path / "tiny.yaml"
    recipe_file.write_text(make_recipe().model_dump_json())  # JSON is YAML
    p = params(Training, people, recipe=str(recipe_file), epochs=1, learning_rate=1e-3, device="cpu")
    recipe = stages.recipe_for(p)
    assert recipe.epochs == 1 and recipe.optimizer.lr == 1e-3
    run = stages.train_for(data, recipe, p)
    assert stages.training_notes(run) == []
    p4 = params(Retrieval, people, model=run.path.name, projection="lda", device="cpu")
    source = stages.choose_model(data, p4).source()
    assert source.digest == run.digest
    _, result, vectors = stages.evaluate_for(data, source, p4)
    assert len(vectors.split("query")) == result.n_query and len(vectors.split("gallery")) == result.n_gallery
    assert 0 < result.mean_ap <= 1
    hard = params(TripletGeneration, people, strategy="hard", model=run.path.name)
    made, triplets, table = stages.triplets_for(data, hard)
    assert made.made and triplets.frame["anchor"].max() < len(table)
    with pytest.raises(UserError, match="needs a trained model: set `model`"):
        stages.triplets_for(data, params(TripletGeneration, people, strategy="hard"))


def test_a_table_written_by_reidlab_is_read_by_the_stage(people: Path) -> None:
    data = prepared(people)
    save_table(data.table, people.parent / "saved.parquet")
    assert len(load_table(people.parent / "saved.parquet")) == len(prepared(people.parent / "saved.parquet").table)


@pytest.mark.parametrize("device", ["cuda", "mps", "gpu"])
def test_an_impossible_device_is_refused_where_a_run_is_found_too(
    people: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared(people)
    source = stages.model_from_run(train(data))
    evaluated(data, source)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    words = f"device='{device}' is (not available on this machine|unknown)"
    with pytest.raises(UserError, match=words):
        stages.training_stage(data, make_recipe(), device=device, progress=False)
    with pytest.raises(UserError, match=words):
        stages.evaluation_stage(data, source, device=device, precision="float32", bootstrap=20, progress=False)
