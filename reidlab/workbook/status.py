"""What goes on in this workbook now: trainings that run or were stopped, by their locks and their last checkpoints.

A training holds the lock of its digest, which the system frees when its process dies: whether it runs is known and not
guessed from the age of its files. (Not across machines that share the folder of reports over NFS without locks.)
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidlab.documents import read_json
from reidlab.errors import UserError
from reidlab.store.runs import locked, runs_root

if TYPE_CHECKING:
    from reidlab.explorers.trainings import Training

__all__ = ["TrainingStatus", "training_status"]

_RECENT = 5  # epochs whose median is the pace


@dataclass(frozen=True)
class TrainingStatus:
    """A training that is not done.

    Attributes:
        key: the beginning of its digest.
        state: running, or stopped: the same command continues it.
        recipe: its name; "" until the first epoch is written.
        epoch: epochs that are finished.
        planned: epochs of the recipe; 0 while it is not known.
        seconds_left: estimated for a running one from the median of the last five epochs; a recipe with patience may
            need less. None while no epoch is finished.
        val_map: mAP of the last validation, a share; None before the first one.
        val_epoch: the epoch of that validation.
        best_map: the best mAP so far.
        age: seconds since something was last written.
        pid: of its process; None for a stopped one.
    """

    key: str
    state: str
    recipe: str = ""
    epoch: int = 0
    planned: int = 0
    seconds_left: float | None = None
    val_map: float | None = None
    val_epoch: int | None = None
    best_map: float | None = None
    age: float = 0.0
    pid: int | None = None


def training_status() -> list[TrainingStatus]:
    """Return the trainings of the store that are not done, those that run first, then the last to be written first."""
    from reidlab.explorers.trainings import find_trainings

    written = {key: training for key, training in find_trainings().items() if not training.done}
    found = [_status(folder, written.get(folder.name)) for folder in runs_root().glob("training/.work-*")]
    return sorted(found, key=lambda each: (each.state != "running", each.age))


def _status(folder: Path, training: Training | None) -> TrainingStatus:
    key = folder.name.rpartition("-")[2]
    with locked(key, wait=False) as free:
        running = not free
    told: dict[str, Any] = {"key": key, "state": "running" if running else "stopped", "age": _age(folder)}
    if running:
        told["pid"] = _pid(folder)
    if training is None:
        return TrainingStatus(**told)
    told |= {"recipe": training.recipe, "epoch": training.epochs, "planned": training.planned}
    if running and "seconds" in training.history:
        pace = float(training.history["seconds"].tail(_RECENT).median())
        told["seconds_left"] = max(0.0, pace * (training.planned - training.epochs) - told["age"])
    if training.best is not None:
        last = training.history.dropna(subset="val_map").iloc[-1]
        told |= {"val_map": float(last["val_map"]), "val_epoch": int(last["epoch"]), "best_map": training.best[0]}
    return TrainingStatus(**told)


def _age(folder: Path) -> float:
    """Return the seconds since a checkpoint, or the attempt itself, was written."""
    times = []
    for file in (folder / "checkpoints" / "last.json", folder / ".progress.json", folder):
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    return max(0.0, time.time() - max(times, default=0.0))


def _pid(folder: Path) -> int | None:
    """Return the process that an attempt noted at its beginning."""
    with suppress(UserError, OSError):
        pid = read_json(folder / ".progress.json", ".progress.json", limit=2**22, finite=False).get("pid")
        return pid if isinstance(pid, int) else None
    return None
