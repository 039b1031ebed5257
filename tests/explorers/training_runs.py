"""Trainings in a test's store, whole and not done, without training anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from reidlab import store
from reidlab.store.runs import Run, runs_root


def history(epochs: int, *, seed: int = 0, validate: int = 2) -> pd.DataFrame:
    """Return a plausible history; every `validate`-th epoch is validated."""
    rng, epoch = np.random.default_rng(seed), np.arange(1, epochs + 1)
    val = np.where(epoch % validate == 0, 1 - np.exp(-epoch / 10) - 0.1 * seed / 10, np.nan)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "loss": 4 * np.exp(-epoch / 8) + rng.normal(0, 0.05, epochs) + 0.5,
            "loss_triplet": np.exp(-epoch / 8),
            "lr": 3e-4 * 0.95**epoch,
            "active_share": np.exp(-epoch / 5),
            "d_ap": np.exp(-epoch / 9),
            "d_an": 1 - np.exp(-epoch / 9),
            "val_map": val,
            "images_per_second": rng.uniform(90, 110, epochs),
            "wait_share": rng.uniform(0, 0.02, epochs),
            "seconds": np.full(epochs, 6.0),
        }
    )


def trained(name: str, epochs: int = 20, *, seed: int = 0, recipe: str = "demo") -> Run:
    """Keep a training that is done."""

    def make(folder: Path) -> dict[str, float]:
        history(epochs, seed=seed).to_parquet(folder / "history.parquet")
        return {"minutes": epochs / 10}

    params = {"recipe": {"name": recipe, "epochs": epochs}, "dataset": "pedestrians", "seed": seed, "of": name}
    return store.stage("training", name, params=params, make=make)


def training_now(epochs_done: int, *, digest: str = "0123456789ab", recipe: str = "demo", planned: int = 30) -> Path:
    """Write what a training that is going on has written after so many epochs."""
    folder = runs_root() / "training" / f".work-{digest}" / "checkpoints"
    checkpoint = folder / f"epoch-{epochs_done:05d}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    rows: Sequence[dict[str, float]] = [
        {name: value for name, value in row.items() if not np.isnan(value)}
        for row in history(epochs_done).astype(float).to_dict("records")
    ]
    progress = {"history": rows, "best": {"epoch": 0}, "recipe": {"name": recipe, "epochs": planned}}
    (checkpoint / "progress.json").write_text(json.dumps(progress))
    pointer = folder / "last.json"
    pointer.write_text(json.dumps({"checkpoint": checkpoint.name, "epochs_done": epochs_done}))
    return pointer
