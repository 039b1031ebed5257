"""A run that was stopped, killed or failed at any moment ends with the same bits as one that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from training_cases import LOOP, World, assert_same_run, make_recipe, train, trained

from reidlab.training.recipes import Recipe
from reidlab.training.run import TrainingRun

VARIANTS: dict[str, dict[str, Any]] = {
    "pk": {"kind": "pk"},
    "ehtm": {"kind": "ehtm"},
    "pk, accumulate and clip": {"kind": "pk", "accumulate": 2, "clip_norm": 0.5},
    "pk, bfloat16 and sgd": {"kind": "pk", "precision": "bfloat16", "optimizer": {"name": "sgd", "lr": 0.01}},
    "ehtm, accumulate, clip, by epoch": {
        "kind": "ehtm",
        "accumulate": 2,
        "clip_norm": 0.5,
        "schedule": {"name": "warmup_multistep", "steps": [2], "warmup_epochs": 1},
    },
    "pk, everything": {
        "kind": "pk",
        "accumulate": 2,
        "clip_norm": 0.5,
        "validate_every": 1,
        "schedule": {"name": "plateau", "patience": 0, "warmup_epochs": 1},
        "optimizer": {"new_layers_factor": 2, "backbone": "network"},
        "freeze": {"epochs": 1, "modules": "network"},
        "ema": {"decay": 0.9},
        "precise_bn": 2,
        "losses": [
            {"name": "cross_entropy", "feature": "logits"},
            {"name": "center", "feature": "after", "weight": 5e-4},
        ],
    },
    "pk, taught by its own average": {
        "kind": "pk",
        "ema": {"decay": 0.9},
        "teachers": "ema",
        "losses": [
            {"name": "cross_entropy", "feature": "logits"},
            {"name": "js", "feature": "logits", "weight": 0.5},
            {"name": "feature_kd", "feature": "after", "weight": 3.0},
        ],
    },
}


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Recipe, TrainingRun]]:
    """Return every variant's recipe and the run that was never stopped."""
    made = {}
    for name, changes in VARIANTS.items():
        recipe = make_recipe(**changes)
        made[name] = recipe, trained(world, tmp_path_factory.mktemp("whole"), recipe, seed=3)
    return made


@pytest.mark.parametrize(("variant", "stops"), [(variant, (1, 2)) for variant in VARIANTS] + [("pk", (3,))])
def test_stopped_between_epochs(world: World, tmp_path: Path, whole: Any, variant: str, stops: tuple[int, ...]) -> None:
    recipe, expected = whole[variant]
    for stop in stops:
        assert train(world, tmp_path, recipe, seed=3, stop_after=stop) is None
        torch.rand(17)  # what happens in between does not matter
    assert not (tmp_path / "model").exists()
    assert_same_run(trained(world, tmp_path, recipe, seed=3), expected)


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
import pandas as pd
from training_cases import World, train
from reidlab.data.pixels import PixelStore
from reidlab.training.batches import BatchMaker
from reidlab.training.recipes import Recipe

real = BatchMaker.__call__
def slow(self, rows, epoch, step, *part):  # time to be killed in the middle of an epoch
    Path({mark!r}).write_text(f"{{epoch}} {{step}}")
    time.sleep(0.15)
    return real(self, rows, epoch, step, *part)
BatchMaker.__call__ = slow
table = pd.read_parquet({table!r})
world = World(table, PixelStore(Path({store!r}), len(table), (32, 16)))
train(world, Path({folder!r}), Recipe.model_validate_json({recipe!r}), seed=3)
"""


@pytest.mark.parametrize("variant", ["pk, everything", "ehtm"])
def test_killed_in_the_middle_of_an_epoch(world: World, tmp_path: Path, whole: Any, variant: str) -> None:
    recipe, expected = whole[variant]
    world.table.to_parquet(tmp_path / "table.parquet")
    folder, mark = tmp_path / "run", tmp_path / "mark"
    code = CHILD.format(
        tests=str(Path(__file__).parent),
        mark=str(mark),
        table=str(tmp_path / "table.parquet"),
        store=str(world.pixels.folder),
        folder=str(folder),
        recipe=recipe.model_dump_json(),
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, env=os.environ, text=True)
    try:
        pointer = folder / "checkpoints" / "last.json"
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and child.poll() is None:
            if pointer.exists() and mark.exists() and mark.read_text().split() >= ["1", "3"]:
                break  # the second epoch's fourth batch is in the making
            time.sleep(0.01)
        assert child.poll() is None and pointer.exists(), child.stderr.read() if child.poll() is not None else "slow"  # type: ignore[union-attr]
        os.kill(child.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    finally:
        child.kill()
        child.communicate()
    assert 1 <= json.loads(pointer.read_text())["epochs_done"] < recipe.epochs and not (folder / "model").exists()
    assert_same_run(trained(world, folder, recipe, seed=3), expected)


@pytest.mark.parametrize("variant", ["pk", "ehtm"])
@pytest.mark.parametrize("moment", ["weights half written", "before the pointer", "pointer half written"])
def test_killed_while_a_checkpoint_was_written(
    world: World, tmp_path: Path, whole: Any, variant: str, moment: str
) -> None:
    recipe, expected = whole[variant]
    assert train(world, tmp_path, recipe, seed=3, stop_after=1) is None
    folder = tmp_path / "checkpoints"
    newer = folder / "epoch-00002"
    nonsense = {"x": torch.zeros(3)}
    if moment == "weights half written":
        newer.mkdir()
        (newer / "model.safetensors.partial").write_bytes(b"\x00" * 100)
    else:  # complete, and other than it should be: it must not be read
        shutil.copytree(folder / "epoch-00001", newer)
        save_file(nonsense, newer / "model.safetensors")
        save_file(nonsense, folder / "best-00002.safetensors")
    if moment == "pointer half written":
        (folder / "last.json.partial").write_text('{"checkpoint": "epo')
    assert_same_run(trained(world, tmp_path, recipe, seed=3), expected)


def test_best_weights_of_an_unnamed_epoch_are_not_taken(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    """Killed after a better epoch's weights, before its checkpoint; the second time that epoch scores worse (a GPU may)."""
    scores = iter([0.5, 0.9, KeyboardInterrupt, 0.4, 0.3])
    monkeypatch.setattr(LOOP, "make_validator", lambda *_, **__: lambda _: {"val_map": next(scores)})
    recipe = make_recipe(epochs=3, validate_every=1)
    assert train(world, tmp_path, recipe, stop_after=1) is None
    real = "reidlab.training.checkpoints.Checkpoints.save"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(real, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(world, tmp_path, recipe)
    next(scores)
    run = trained(world, tmp_path, recipe)
    assert run.best_epoch == 1 and run.summary["best_val_map"] == 0.5


@pytest.mark.parametrize("moment", ["save_model", "write_finished"])
def test_killed_while_finishing(world: World, tmp_path: Path, whole: Any, monkeypatch: Any, moment: str) -> None:
    recipe, expected = whole["pk"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LOOP, moment, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(world, tmp_path, recipe, seed=3)
    assert_same_run(trained(world, tmp_path, recipe, seed=3), expected)


def test_out_of_patience_and_killed_before_the_end_trains_no_further(
    world: World, tmp_path: Path, monkeypatch: Any
) -> None:
    scores = [0.1, 0.3, 0.2, 0.9, 0.9, 0.9]
    monkeypatch.setattr(LOOP, "make_validator", lambda *_, **__: lambda _: {"val_map": scores.pop(0)})
    recipe = make_recipe(epochs=6, validate_every=1, patience=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LOOP, "save_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(world, tmp_path, recipe)
    run = trained(world, tmp_path, recipe)
    assert run.history["epoch"].tolist() == [1, 2, 3] and run.best_epoch == 2


def test_interrupted_in_an_epoch_in_this_process(world: World, tmp_path: Path, whole: Any, monkeypatch: Any) -> None:
    recipe, expected = whole["pk, accumulate and clip"]
    seen = []

    def interrupt(*args: Any) -> None:
        seen.append(args)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LOOP, "check_finite", interrupt)
        train(world, tmp_path, recipe, seed=3)
    assert_same_run(trained(world, tmp_path, recipe, seed=3), expected)
