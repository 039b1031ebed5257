"""The trainings of the store with their histories, those that run or were stopped among them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab.documents import read_json
from reidlab.errors import UserError
from reidlab.progress import duration
from reidlab.store.runs import Run, list_runs, runs_root

__all__ = ["Training", "find_trainings", "signature"]

_LONGEST = 64 * 2**20  # bytes of a checkpoint's progress, which holds the history


@dataclass(frozen=True, eq=False)
class Training:
    """A training that is done, runs, or was stopped.

    Attributes:
        key: the name of its folder.
        name: what people call it.
        history: a row per finished epoch.
        recipe: its name.
        dataset: its name, "" where it is not known yet.
        planned: epochs that the recipe says.
        minutes: that it took.
        state: "done", or since when no epoch was written.
    """

    key: str
    name: str
    history: pd.DataFrame
    recipe: str
    dataset: str
    planned: int
    minutes: float
    state: str = "done"

    @property
    def done(self) -> bool:
        """Whether it came to its end."""
        return self.state == "done"

    @property
    def epochs(self) -> int:
        """Return its finished epochs."""
        return len(self.history)

    @property
    def best(self) -> tuple[float, int] | None:
        """Return the best validation mAP, a share, and its epoch; None where nothing was validated."""
        if "val_map" not in self.history or not self.history["val_map"].notna().any():
            return None
        best = self.history.iloc[int(self.history["val_map"].argmax())]  # epochs without validation do not count
        return float(best["val_map"]), int(best["epoch"])


def find_trainings(
    runs: Sequence[Run] | None = None, known: Mapping[str, Training] | None = None
) -> dict[str, Training]:
    """Find trainings by their keys, the newest first: those that are not done, then those that are; damaged ones not.

    Args:
        runs: these alone; None: all of the store.
        known: of an earlier call; what is done is not read again.
    """
    finished = list_runs("training") if runs is None else list(runs)
    found = [_finished(run, known or {}) for run in reversed(finished) if not run.problem]
    whole = ([] if runs is not None else _unfinished()) + [each for each in found if each is not None]
    return {training.key: training for training in whole}


def signature() -> frozenset[tuple[str, float]]:
    """Return what changes when a training of the store begins, writes an epoch, ends or is removed; takes no time."""
    root = runs_root() / "training"
    found = {(path.name, 0.0) for path in root.glob("*") if not path.name.startswith(".")}
    for pointer in root.glob(".work-*/checkpoints/last.json"):
        try:
            found.add((pointer.parents[1].name, pointer.stat().st_mtime))
        except OSError:  # it came to its end just now
            continue
    return frozenset(found)


def _finished(run: Run, known: Mapping[str, Training]) -> Training | None:
    if run.path.name in known:
        return known[run.path.name]
    try:
        history = pd.read_parquet(run.path / "history.parquet")
        recipe = run.params["recipe"]
        return Training(
            key=run.path.name,
            name=run.path.name,
            history=_clean(history),
            recipe=str(recipe["name"]),
            dataset=str(run.params["dataset"]),
            planned=int(recipe["epochs"]),
            minutes=float(run.result.get("minutes", run.seconds / 60)),
        )
    except (OSError, KeyError, ValueError, TypeError):  # removed meanwhile, or of a stage that only shares the name
        return None


def _unfinished() -> list[Training]:
    """Return the trainings whose folders are still at work, by the checkpoints that they have written."""
    found = []
    for pointer in runs_root().glob("training/.work-*/checkpoints/last.json"):
        try:
            told = read_json(pointer, "last.json")
            progress = read_json(
                pointer.parent / Path(str(told["checkpoint"])).name / "progress.json",
                "progress.json",
                limit=_LONGEST,
                finite=False,
            )
            changed = pointer.stat().st_mtime
            found.append((changed, _going_on(pointer.parents[1].name, progress, max(0.0, time.time() - changed))))
        except (OSError, UserError, KeyError, ValueError, TypeError):  # the next checkpoint replaces this one just now
            continue
    return [training for _, training in sorted(found, key=lambda pair: -pair[0])]


def _going_on(folder: str, progress: dict[str, Any], age: float) -> Training:
    history, recipe = _clean(pd.DataFrame(progress["history"])), progress["recipe"]
    digest = folder.rpartition("-")[2]
    return Training(
        key=folder,
        name=f"{recipe['name']}-{digest}, not done",
        history=history,
        recipe=str(recipe["name"]),
        dataset="",
        planned=int(recipe["epochs"]),
        minutes=float(history["seconds"].sum() / 60) if "seconds" in history else float("nan"),
        state=f"last epoch {duration(age)} ago",
    )


def _clean(history: pd.DataFrame) -> pd.DataFrame:
    if "epoch" not in history or history.empty:
        raise ValueError("a history without epochs")
    return history.reset_index(drop=True)
