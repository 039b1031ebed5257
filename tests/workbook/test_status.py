"""Trainings that run or were stopped, told from their locks and checkpoints."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from reidlab.cli import main
from reidlab.store.runs import locked, runs_root
from reidlab.workbook.status import training_status


def work(digest: str, history: list[dict[str, Any]] | None, age: float = 0.0) -> Path:
    """Write what a training with these finished epochs of ten has in its folder, `age` seconds ago."""
    folder = runs_root() / "training" / f".work-{digest}"
    checkpoint = folder / "checkpoints" / "epoch-00001"
    checkpoint.mkdir(parents=True)
    files = [folder / ".progress.json"]
    files[0].write_text(json.dumps({"pid": 4321}))
    if history is not None:
        progress = {"history": history, "recipe": {"name": "demo", "epochs": 10}}
        (checkpoint / "progress.json").write_text(json.dumps(progress))
        files.append(folder / "checkpoints" / "last.json")
        files[1].write_text(json.dumps({"checkpoint": "epoch-00001"}))
    for file in (*files, folder):
        os.utime(file, (time.time() - age,) * 2)
    return folder


HISTORY = [
    {"epoch": 1, "seconds": 500.0},
    {"epoch": 2, "seconds": 100.0, "val_map": 0.5},
    {"epoch": 3, "seconds": 100.0},
    {"epoch": 4, "seconds": 100.0, "val_map": 0.4},
]


def test_one_that_runs_one_that_was_stopped_and_one_in_its_first_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    work("aaaaaaaaaaaa", HISTORY)
    work("bbbbbbbbbbbb", HISTORY[:1], age=7200)
    work("cccccccccccc", None, age=60)
    with locked("aaaaaaaaaaaa" + "0" * 52), locked("cccccccccccc" + "0" * 52):
        first, second, third = training_status()
        assert main(["status"]) == 0
    assert (first.key, first.state, first.recipe, first.pid) == ("aaaaaaaaaaaa", "running", "demo", 4321)
    assert (first.epoch, first.planned, first.val_map, first.val_epoch, first.best_map) == (4, 10, 0.4, 4, 0.5)
    # the median of the last epochs, not their mean: the first one prepared the data
    assert first.seconds_left is not None and 540 < first.seconds_left <= 600
    assert (second.key, second.state, second.epoch, second.planned) == ("cccccccccccc", "running", 0, 0)
    assert second.seconds_left is None and 60 <= second.age < 600
    assert (third.key, third.state, third.epoch, third.pid) == ("bbbbbbbbbbbb", "stopped", 1, None)
    assert third.seconds_left is None and third.val_map is None
    shown = capsys.readouterr().out
    assert (
        "running (process 4321)" in shown and "4 of 10" in shown and "40.0% (4)" in shown and "2 h 00 min ago" in shown
    )


def test_a_lock_that_nobody_holds_any_more_means_stopped() -> None:
    work("aaaaaaaaaaaa", HISTORY)
    with locked("aaaaaaaaaaaa" + "0" * 52):
        pass
    (only,) = training_status()
    assert only.state == "stopped"


def test_files_that_cannot_be_read_do_no_harm() -> None:
    folder = work("aaaaaaaaaaaa", HISTORY)
    (folder / ".progress.json").write_text("{")
    (folder / "checkpoints" / "last.json").write_text("[]")
    with locked("aaaaaaaaaaaa" + "0" * 52):
        (only,) = training_status()
    assert (only.state, only.pid, only.epoch) == ("running", None, 0)
