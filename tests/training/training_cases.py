"""A tiny data set (coloured noise, an own colour for every identity) and recipes that train on it in about a second."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import load_file

from reidlab.data.pixels import PixelStore
from reidlab.training.fitting import fit
from reidlab.training.recipes import Recipe
from reidlab.training.run import TrainingRun

LOOP: Any = importlib.import_module("reidlab.training.loop")
HEIGHT, WIDTH = 32, 16
IDENTITIES = {"train": 8, "val": 3, "query": 2, "gallery": 2}
TIMED = ["seconds", "images_per_second", "wait_share"]

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class World:
    table: pd.DataFrame
    pixels: PixelStore

    def without(self, *columns: str) -> World:
        return World(self.table.drop(columns=list(columns)), self.pixels)

    def changed(self, **columns: Any) -> World:
        return World(self.table.assign(**columns), self.pixels)


def make_images(folder: Path, identities: dict[str, int], *, cameras: int = 3, images: int = 4) -> pd.DataFrame:
    """Write PNG files and give their table; query and gallery share identities."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    colours = rng.integers(20, 235, (100, 2, 3))
    first = {"train": 0, "val": 30, "query": 60, "gallery": 60}
    rows = []
    for split, n in identities.items():
        for pid in range(first[split], first[split] + n):
            for camera in range(cameras):
                for i in range(images):
                    body = np.repeat(colours[pid], HEIGHT // 2, axis=0)[:, None]
                    noisy = body + rng.normal(0, 25, (HEIGHT, WIDTH, 3)) + 10 * camera
                    path = folder / f"{split}_{pid:02d}_c{camera}_{i}.png"
                    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path)
                    rows.append((str(path), pid, camera, split))
    return pd.DataFrame(rows, columns=["path", "pid", "camid", "split"])


def make_world(folder: Path, **options: Any) -> World:
    table = make_images(folder / "images", options.pop("identities", IDENTITIES), **options)
    return World(table, PixelStore.build(table, folder / "store", size=(HEIGHT, WIDTH), progress=False))


def make_recipe(kind: str = "pk", **changes: Any) -> Recipe:
    """Return a small recipe of either kind, with dropout and augmentation on; dictionaries are merged one level deep."""
    content: dict[str, Any] = {
        "name": f"tiny-{kind}",
        "source": "a test",
        "expected": "nothing",
        "model": {"name": "custom_cnn_v32", "height": HEIGHT, "width": WIDTH, "dropout": 0.3},
        "sampler": {"name": kind, "identities": 4, "images": 4},
        "augment": {"flip": 0.5, "crop_padding": 2, "erase": 0.5},
        "schedule": {"name": "onecycle"},
        "epochs": 4,
        "validate_every": 2,
        "precision": "float32",
    }
    if kind == "pk":
        content["model"] |= {"neck": "bnneck", "embedding": "concat"}
        content["optimizer"] = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.02}
        content["losses"] = [
            {"name": "cross_entropy", "feature": "logits", "options": {"label_smoothing": 0.1}},
            {"name": "triplet", "feature": "after", "options": {"margin": 0.3, "normalize": True}},
        ]
    else:
        content["optimizer"] = {"name": "adam", "lr": 1e-3, "weight_decay": 1e-4}
        content["losses"] = [{"name": "ehtm", "feature": "triplets"}]
    for name, value in changes.items():
        content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) and name != "schedule" else value
    return Recipe.model_validate(content)


def train(world: World, folder: Path, recipe: Recipe, **options: Any) -> TrainingRun | None:
    options = {"device": "cpu", "progress": False, **options}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # images this small are no work for two; on a busy machine they only wait for each other
    try:
        return fit(recipe, world.table, world.pixels, folder, **options)
    finally:
        torch.set_num_threads(threads)


def trained(world: World, folder: Path, recipe: Recipe, **options: Any) -> TrainingRun:
    run = train(world, folder, recipe, **options)
    assert run is not None
    return run


def weights_in(folder: Path) -> Weights:
    return load_file(folder / "model" / "model.safetensors")


def same_weights(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def assert_same_run(a: TrainingRun, b: TrainingRun) -> None:
    """Bit-identical weights, and a history that differs in measured times alone."""
    assert same_weights(weights_in(a.folder), weights_in(b.folder))
    pd.testing.assert_frame_equal(a.history.drop(columns=TIMED), b.history.drop(columns=TIMED), check_exact=True)
    assert a.best_epoch == b.best_epoch
