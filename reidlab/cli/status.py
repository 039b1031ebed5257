"""`reidlab status`: what runs now, and what was stopped."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from reidlab.cli.console import Json, as_json, table

if TYPE_CHECKING:
    from reidlab.workbook.status import TrainingStatus

__all__ = ["status"]


def status(json: Json = False) -> None:
    """Show trainings that run or were stopped (epoch, time left, last score) and sweeps that run."""
    from reidlab.sweeps.running import running_sweeps
    from reidlab.workbook.status import training_status

    trainings, sweeps = training_status(), running_sweeps()
    if json:
        as_json({"trainings": [asdict(each) for each in trainings], "sweeps": sweeps})
        return
    columns = ["run", "recipe", "state", "epoch", "time left", "mAP (epoch)", "best", "last written"]
    table("Trainings that are not done", columns, [_cells(each) for each in trainings])
    if sweeps:
        rows = [[sweep["sweep"], f"{sweep['ended']} of {sweep['runs']} runs", str(sweep["failed"])] for sweep in sweeps]
        table("Sweeps that run", ["sweep", "ended", "failed"], rows)


def _cells(each: TrainingStatus) -> list[str]:
    from reidlab.progress import duration

    state = f"{each.state} (process {each.pid})" if each.pid else each.state
    epoch = f"{each.epoch} of {each.planned}" if each.planned else "first"
    left = duration(each.seconds_left) if each.seconds_left is not None else ""
    last = f"{each.val_map:.1%} ({each.val_epoch})" if each.val_map is not None else ""
    best = f"{each.best_map:.1%}" if each.best_map is not None else ""
    return [f"training/{each.key}", each.recipe, state, epoch, left, last, best, f"{duration(each.age)} ago"]
