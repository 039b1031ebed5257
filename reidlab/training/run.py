"""A finished training: its folder, history and summary, and how they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from reidlab.devices import ComputePlan
from reidlab.documents import read_json
from reidlab.models.saved import load_model
from reidlab.models.weights.writing import write_json
from reidlab.training.recipes import Recipe

__all__ = ["TrainingRun", "facts_of", "read_finished", "summarise", "write_finished"]


@dataclass(frozen=True)
class TrainingRun:
    """A finished training.

    Attributes:
        folder: holds model/ (weights and config), history.parquet, finished.json.
        history: one row per epoch.
        best_epoch: the epoch whose weights model/ has.
        summary: figures for manifests: epochs, parameters, images, minutes, best validation.
    """

    folder: Path
    history: pd.DataFrame
    best_epoch: int
    summary: dict[str, Any]

    def load_model(self) -> nn.Module:
        """Build the trained model in eval mode."""
        return load_model(self.folder / "model")


def summarise(history: pd.DataFrame, about: Mapping[str, Any]) -> dict[str, Any]:
    """Add to `about` what the whole history says: epochs, images, minutes, share of time spent waiting for batches."""
    seconds = history["seconds"]
    return {
        **about,
        "epochs": len(history),
        "train_images_seen": int(history["images"].sum()),
        "minutes": float(seconds.sum() / 60),
        "wait_share": float((history["wait_share"] * seconds).sum() / seconds.sum()),
    }


def facts_of(recipe: Recipe, best: Mapping[str, float], best_epoch: int, compute: ComputePlan) -> dict[str, Any]:
    """Return which epoch counts, by which validation mAP, and how it was computed."""
    return {
        "recipe": recipe.name,
        "epochs_planned": recipe.epochs,
        "best_epoch": best_epoch,
        "best_val_map": best["val_map"] if best["epoch"] > 0 else None,
        "device": str(compute.device),
        "precision": compute.precision,
    }


def write_finished(run: TrainingRun, given: Mapping[str, Any]) -> None:
    """Write history.parquet, then finished.json, which says that the run is complete and what it was made from."""
    run.history.to_parquet(run.folder / "history.parquet")
    write_json(run.folder / "finished.json", {"summary": run.summary, **given})


def read_finished(folder: Path) -> tuple[TrainingRun, dict[str, Any]] | None:
    """Read a finished run and what it was made from, such as one that was killed before its folder got its name."""
    try:
        found = read_json(folder / "finished.json", "finished.json", finite=False)
        history = pd.read_parquet(folder / "history.parquet")
        return TrainingRun(folder, history, found["summary"]["best_epoch"], found["summary"]), found
    except (OSError, ValueError, KeyError, TypeError):  # of a file that is cut short or edited
        return None
