"""fit: deterministic by its seed, blind to query and gallery, stopped by alarms, clear about what does not fit."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from training_cases import (
    LOOP,
    World,
    assert_same_run,
    make_recipe,
    make_world,
    same_weights,
    train,
    trained,
    weights_in,
)

from reidlab.data.triplets import Triplets, make_triplets
from reidlab.errors import UserError
from reidlab.losses.triplet import TripletLoss
from reidlab.training import load_recipe
from reidlab.training.alarms import TrainingStopped, check_collapse, check_finite, check_weights
from reidlab.training.engine import Learner
from reidlab.training.recipes import SamplerPart

COLUMNS = ["epoch", "lr", "seconds", "images", "images_per_second", "wait_share", "loss"]


@pytest.fixture(scope="module")
def pk_run(world: World, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained(world, tmp_path_factory.mktemp("pk"), make_recipe())


@pytest.mark.parametrize("kind", ["pk", "ehtm"])
def test_one_seed_one_result_and_the_global_generators_untouched(world: World, tmp_path: Path, kind: str) -> None:
    recipe = make_recipe(kind, epochs=2)
    torch.manual_seed(99)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    first = trained(world, tmp_path / "a", recipe)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]  # type: ignore[index]  # noqa: NPY002
    torch.manual_seed(5)
    assert_same_run(first, trained(world, tmp_path / "b", recipe))
    other = trained(world, tmp_path / "c", recipe, seed=1)
    assert not same_weights(weights_in(first.folder), weights_in(other.folder))


def test_it_learns(pk_run: Any) -> None:
    assert pk_run.history["loss"].iloc[-1] < pk_run.history["loss"].iloc[0]


def test_history_and_summary_say_everything(pk_run: Any) -> None:
    history, summary = pk_run.history, pk_run.summary
    terms = ["loss_cross_entropy", "accuracy", "loss_triplet", "active_share", "d_ap", "d_an"]
    assert set(history) == {*COLUMNS, *terms, "val_map", "val_rank1"}
    assert history["epoch"].tolist() == [1, 2, 3, 4] and history["val_map"].notna().tolist() == [False, True] * 2
    assert history["images"].between(16, 96).all() and (history["images"] % 16 == 0).all()
    assert history["wait_share"].between(0, 1).all() and 0 <= summary["wait_share"] <= 1
    assert (history["images_per_second"] * history["seconds"]).tolist() == pytest.approx(history["images"].tolist())
    assert history["lr"].iloc[-1] < 1e-6 and history["lr"].max() <= 1e-3
    saved = pd.read_parquet(pk_run.folder / "history.parquet")
    pd.testing.assert_frame_equal(saved, history)
    assert summary["epochs"] == summary["epochs_planned"] == 4 and summary["num_classes"] == 8
    assert (
        summary["best_val_map"] == history["val_map"].max() and summary["train_images_seen"] == history["images"].sum()
    )
    assert summary["device"] == "cpu" and summary["precision"] == "float32" and summary["minutes"] > 0
    json.dumps(summary)


def test_a_finished_run_leaves_no_checkpoints_and_is_found_again(
    world: World, pk_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {p.name for p in pk_run.folder.iterdir()} == {"model", "history.parquet", "finished.json"}
    monkeypatch.setattr(LOOP._Training, "_epoch", lambda *_: pytest.fail("trained again"))
    again = trained(world, pk_run.folder, make_recipe())
    assert_same_run(pk_run, again)
    assert again.summary == pk_run.summary


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"recipe": make_recipe(epochs=5)}, "recipe"), ({"seed": 1}, "seed"), ({"world": "other"}, "data")],
)
@pytest.mark.parametrize("finished", [True, False])
def test_another_training_in_the_folder_is_refused(
    world: World, tmp_path: Path, pk_run: Any, changes: dict[str, Any], words: str, finished: bool
) -> None:
    folder = pk_run.folder if finished else tmp_path
    if not finished:
        assert train(world, folder, make_recipe(), stop_after=1) is None
    if changes.get("world"):
        pid = world.table["pid"].replace({0: 1, 1: 0})
        pid[world.table.index[0]] = 2
        changes = {"world": world.changed(pid=pid)}
    options = {"world": world, "recipe": make_recipe(), **changes}
    with pytest.raises(UserError, match=f"holds a training with another {words}; choose another folder or remove it"):
        train(folder=folder, **options)


def test_the_saved_model_is_the_trained_one(world: World, pk_run: Any) -> None:
    model = pk_run.load_model()
    assert not model.training and same_weights(dict(model.state_dict()), weights_in(pk_run.folder))
    assert json.loads((pk_run.folder / "model/config.json").read_text())["num_classes"] == 8
    with torch.inference_mode():
        vectors = model(torch.rand(2, 3, 32, 16))
    assert vectors.shape == (2, 7 * 128) and torch.allclose(vectors.norm(dim=1), torch.ones(2))


def test_query_and_gallery_are_never_touched(tmp_path: Path) -> None:
    """Their files are gone and their pixels garbage: not a bit of the result changes."""
    runs = []
    for spoilt in (False, True):
        world = make_world(tmp_path / str(spoilt))
        if spoilt:
            test = world.table["split"].isin(["query", "gallery"]).to_numpy()
            for path in world.table["path"][test]:
                Path(path).unlink()
            flat = np.memmap(world.pixels.folder / "pixels.u8", dtype=np.uint8, mode="r+")
            flat.reshape(len(world.table), -1)[test] = 77
            flat.flush()
        runs.append(trained(world, tmp_path / f"run-{spoilt}", make_recipe(epochs=2)))
    assert_same_run(*runs)


def test_junk_and_distractors_are_not_learnt(world: World, tmp_path: Path) -> None:
    distractor = np.zeros(len(world.table), bool)
    distractor[:4] = True
    pid = world.table["pid"].where(world.table["pid"] != 1, -1)
    run = trained(world.changed(pid=pid, distractor=distractor), tmp_path, make_recipe(epochs=1))
    assert run.summary["num_classes"] == 7


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["pk", "ehtm"])
def test_precisions(world: World, tmp_path: Path, precision: str, kind: str) -> None:
    run = trained(world, tmp_path, make_recipe(kind, epochs=1, precision=precision))
    assert run.summary["precision"] == precision and np.isfinite(run.history["loss"]).all()
    assert {str(t.dtype) for t in weights_in(tmp_path).values()} <= {"torch.float32", "torch.int64"}


def test_runs_of_different_precision_do_not_disturb_each_other(world: World, tmp_path: Path) -> None:
    recipe = make_recipe(epochs=1)
    first = trained(world, tmp_path / "a", recipe)
    trained(world, tmp_path / "b", recipe.model_copy(update={"precision": "bfloat16", "accumulate": 2}))
    assert_same_run(first, trained(world, tmp_path / "c", recipe))


def test_float16_on_the_cpu_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="float16"):
        train(world, tmp_path, make_recipe(precision="float16"))


def steps_of(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[int, Any]:
    """Count true optimiser steps."""
    n = 0
    real = torch.optim.AdamW.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal n
        n += 1
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run = trained(world, folder, make_recipe(epochs=2, **changes))
    monkeypatch.undo()
    return n, run


def test_accumulated_batches_make_one_step_and_epochs_whole_steps(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, run = steps_of(world, tmp_path / "a", monkeypatch, accumulate=2)
    assert (run.history["images"] % 32 == 0).all() and n == run.history["images"].sum() / 32
    n, run = steps_of(world, tmp_path / "b", monkeypatch, accumulate=8)
    assert n == 2 and run.history["images"].tolist() == [128, 128], "6 batches are repeated to one group of 8"


def test_two_accumulated_halves_are_one_whole(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient that a step sees is the mean over the accumulated batches."""
    seen: list[Tensor] = []
    real = torch.optim.SGD.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(torch.cat([p.grad.flatten() for g in self.param_groups for p in g["params"] if p.grad is not None]))
        return real(self, *args, **kwargs)

    class SameBatch:
        def __init__(self, maker: Any) -> None:
            self.maker = maker

        def __call__(self, rows: np.ndarray, epoch: int, step: int, part: slice) -> Tensor:
            return torch.linspace(0, 1, 3 * 32 * 16 * len(rows)).reshape(len(rows), 3, 32, 16)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    monkeypatch.setattr(LOOP, "BatchMaker", lambda *args: SameBatch(args))
    monkeypatch.setattr("reidlab.training.task.Task.rows", lambda self, batch: np.arange(0, 96, 6))
    first = []
    for accumulate in (1, 2):
        seen.clear()
        recipe = make_recipe(
            epochs=1, accumulate=accumulate, model={"dropout": 0.0}, optimizer={"name": "sgd", "lr": 1e-9}
        )
        trained(world, tmp_path / str(accumulate), recipe)
        first.append(seen[0])
    assert torch.allclose(first[0], first[1], rtol=1e-3, atol=1e-6)


def test_gradients_are_clipped(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    real = torch.optim.AdamW.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        grads = [p.grad.norm() for g in self.param_groups for p in g["params"] if p.grad is not None]
        norms.append(float(torch.stack(grads).norm()))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    trained(world, tmp_path / "free", make_recipe(epochs=1))
    assert max(norms) > 0.1
    norms.clear()
    trained(world, tmp_path / "clipped", make_recipe(epochs=1, clip_norm=0.01, accumulate=2))
    assert norms and max(norms) <= 0.0101


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[dict[str, Tensor]]:
    """Let validation give these scores; the weights it was given are kept."""
    seen: list[dict[str, Tensor]] = []

    def validate(model: nn.Module) -> dict[str, float]:
        seen.append({name: t.clone() for name, t in model.state_dict().items()})
        return {"val_map": scores[len(seen) - 1], "val_rank1": 0.5}

    monkeypatch.setattr(LOOP, "make_validator", lambda *_, **__: validate)
    return seen


def test_the_best_epoch_is_the_one_of_the_highest_map(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scripted(monkeypatch, [0.1, 0.4, 0.4, 0.2])
    run = trained(world, tmp_path, make_recipe(validate_every=1))
    assert run.best_epoch == 2 and run.summary["best_val_map"] == 0.4, "the first of equal ones"
    assert same_weights(weights_in(tmp_path), seen[1]) and not same_weights(seen[1], seen[3])


def test_the_last_epoch_is_always_validated(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = scripted(monkeypatch, [0.1, 0.2])
    run = trained(world, tmp_path, make_recipe(epochs=3, validate_every=2))
    assert run.history["val_map"].notna().tolist() == [False, True, True] and run.best_epoch == 3
    assert same_weights(weights_in(tmp_path), seen[1])


def test_patience_stops(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.1, 0.3, 0.3, 0.2, 0.9, 0.9])
    run = trained(world, tmp_path, make_recipe(epochs=6, validate_every=1, patience=2))
    assert run.history["epoch"].tolist() == [1, 2, 3, 4] and run.best_epoch == 2
    assert run.summary["epochs"] == 4 and run.summary["epochs_planned"] == 6


def test_a_loss_that_is_no_number_stops(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe()
    assert train(world, tmp_path, recipe, stop_after=1) is None
    real = TripletLoss.forward
    monkeypatch.setattr(TripletLoss, "forward", lambda self, f, y: real(self, f, y) * float("nan"))
    with pytest.raises(
        TrainingStopped, match=r"loss became nan in epoch 2, step 1\. Lower the learning rate .* clip_norm"
    ):
        train(world, tmp_path, recipe)
    monkeypatch.undo()
    whole = trained(world, tmp_path / "whole", recipe)
    assert_same_run(trained(world, tmp_path, recipe), whole)  # the checkpoint before the alarm is untouched


def test_weights_that_are_no_numbers_stop(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe()
    real = Learner.step

    def spoilt(self: Learner, *args: Any, **kwargs: Any) -> Any:
        found = real(self, *args, **kwargs)
        with torch.no_grad():
            next(self.model.parameters()).fill_(float("nan"))
        return torch.zeros(()), found[1]  # a loss that looks well

    assert train(world, tmp_path, recipe, stop_after=1) is None
    monkeypatch.setattr(Learner, "step", spoilt)
    with pytest.raises(TrainingStopped, match=r"Weights are no longer numbers after epoch 2 \(.*precision: float32"):
        train(world, tmp_path, recipe)
    monkeypatch.undo()
    assert_same_run(trained(world, tmp_path, recipe), trained(world, tmp_path / "whole", recipe))


def test_a_rate_far_too_high_stops(world: World, tmp_path: Path) -> None:
    recipe = make_recipe(optimizer={"name": "sgd", "lr": 1e30, "momentum": 0.0})
    with pytest.raises(TrainingStopped, match=r"loss became (nan|inf)"):
        train(world, tmp_path, recipe)


def test_collapse_stops(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = TripletLoss.forward
    monkeypatch.setattr(TripletLoss, "forward", lambda self, f, y: real(self, f * 0 + 1, y))
    with pytest.raises(TrainingStopped, match=r"collapsed to one point in epoch 1 .*soft_margin: true"):
        train(world, tmp_path, make_recipe())


def test_alarms_alone() -> None:
    check_finite(1e30, 1, 1)
    check_collapse(1, float("nan"), float("nan"))  # losses without distances
    check_collapse(1, 0.001, 0.5)
    for loss in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(TrainingStopped):
            check_finite(loss, 1, 1)
    with pytest.raises(TrainingStopped):
        check_collapse(3, 0.001, 0.002)
    layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    layers.register_buffer("mask", torch.tensor([0.0, -float("inf")]))
    check_weights(layers, 1)
    check_weights(nn.ReLU(), 1)
    for name, value in (("1.running_var", float("nan")), ("0.bias", float("inf"))):
        with torch.no_grad():
            layers.state_dict()[name][1] = value
        with pytest.raises(TrainingStopped, match=rf"after epoch 7 \({name}\)"):
            check_weights(layers, 7)
    assert issubclass(TrainingStopped, UserError)


def test_fewer_identities_than_the_sampler_wants(world: World, tmp_path: Path) -> None:
    words = r"recipe tiny-{}, sampler: .*needs 12 identities per batch; the training split has 8 .*Lower `identities`"
    for kind in ("pk", "ehtm"):
        with pytest.raises(UserError, match=words.format(kind)):
            train(world, tmp_path, make_recipe(kind, sampler={"identities": 12}))


def test_tables_that_cannot_be_trained_on(world: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no train images; prepare a split first \(notebook 01\)"):
        train(world.changed(split="gallery"), tmp_path, make_recipe())
    with pytest.raises(UserError, match="no train images"):
        train(world.changed(pid=-1), tmp_path, make_recipe())
    with pytest.raises(UserError, match=r"pixel store has 180 images and the table 179"):
        train(World(world.table.iloc[1:], world.pixels), tmp_path, make_recipe())
    with pytest.raises(UserError, match="seed=-1"):
        train(world, tmp_path, make_recipe(), seed=-1)


def test_folders_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"cannot be written .*Make it writable, or free disk space"):
            train(world, folder, make_recipe())


def test_given_triplets(world: World, tmp_path: Path) -> None:
    train_rows = np.flatnonzero(world.table["split"] == "train")
    drawn = make_triplets(world.table.iloc[train_rows].reset_index(drop=True), seed=0)
    recipe = make_recipe("ehtm", epochs=1)
    given = trained(world, tmp_path / "given", recipe, triplets=drawn)  # train rows come first here
    assert_same_run(given, trained(world, tmp_path / "own", recipe))
    swapped = drawn.frame.rename(columns={"positive": "negative", "negative": "positive"})
    outside = drawn.frame.assign(negative=len(world.table))
    below = drawn.frame.assign(negative=-1)
    test_rows = drawn.frame.assign(negative=len(world.table) - 1)
    for frame in (swapped, outside, below, test_rows):
        with pytest.raises(UserError, match="do not belong to this table's train split; draw them again"):
            train(world, tmp_path / "x", recipe, triplets=Triplets(frame, drawn.skipped, 0))


def test_margins_follow_the_training_images(world: World, tmp_path: Path) -> None:
    """arcface_adaptive is told how many images each identity has, and remembers when the model is loaded."""
    model = {
        "name": "osnet_x0_25", "feature_dim": 0, "height": 32, "width": 16,
        "classifier": {"name": "arcface_adaptive", "low": 0.1, "high": 0.4},
    }  # fmt: skip
    recipe = make_recipe(epochs=1, losses=[{"name": "cross_entropy", "feature": "logits"}])
    few = world.table.index[(world.table["split"] == "train") & (world.table["pid"] == 3)][4:]
    uneven = world.changed(split=world.table["split"].where(~world.table.index.isin(few), "gallery"))
    run = trained(uneven, tmp_path, recipe.model_copy(update={"model": model}))
    (margins,) = (tensor for name, tensor in weights_in(run.folder).items() if name.endswith("margins"))
    assert margins.tolist() == pytest.approx([0.4 if pid == 3 else 0.1 for pid in range(8)])
    loaded: Any = run.load_model()
    assert torch.equal(loaded.classifiers[0].margins, margins)


def test_shuffled_batches_hold_every_image_once(world: World, tmp_path: Path) -> None:
    entropy = [{"name": "cross_entropy", "feature": "logits"}]
    recipe = make_recipe(epochs=1, losses=entropy).model_copy(update={"sampler": SamplerPart(name="shuffle", batch=19)})
    run = trained(world, tmp_path, recipe)
    assert run.history["images"].tolist() == [96] and 96 % 19 == 1, "the last one is not alone"
    assert_same_run(run, trained(world, tmp_path, recipe.model_validate(recipe.model_dump(mode="json"))))


def test_text_identities(world: World, tmp_path: Path) -> None:
    named = world.changed(pid="person " + world.table["pid"].astype(str), camid="c" + world.table["camid"].astype(str))
    assert trained(named, tmp_path, make_recipe(epochs=1)).summary["num_classes"] == 8


def test_other_options_of_a_shipped_recipe(world: World, tmp_path: Path) -> None:
    demo = load_recipe("demo", epochs=1)
    assert trained(world, tmp_path, demo.model_copy(update={"precision": "float32"})).summary["num_classes"] == 8


@pytest.mark.parametrize("validated", [True, False])
def test_stop_after_everything_is_a_finished_run(world: World, tmp_path: Path, validated: bool) -> None:
    table = world.table if validated else world.table.assign(split=world.table["split"].replace("val", "gallery"))
    run = train(World(table, world.pixels), tmp_path, make_recipe(epochs=1), stop_after=1)
    assert run is not None and run.best_epoch == 1
