"""Where one of several processes fails, is killed or is stopped, all end, and the user reads why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from training_cases import World, make_recipe, train

from reidlab.errors import UserError
from reidlab.training import processes
from reidlab.training.alarms import TrainingStopped
from reidlab.training.checkpoints import Checkpoints
from reidlab.training.job import Job
from reidlab.training.processes import Crew, Failed, visible_gpu

SAYS = """
import json, os, sys, time
rank = json.loads(sys.stdin.buffer.readline())["rank"]
def say(kind, **values):
    print(json.dumps({"kind": kind, **values}), flush=True)
THEN
"""


@pytest.fixture
def job(world: World, tmp_path: Path) -> Job:
    return Job(make_recipe(), world.table, world.pixels, tmp_path / "run", device="cpu", progress=False)


def run(job: Job, folder: Path, monkeypatch: Any, then: str, *, size: int = 2) -> Crew:
    """Watch processes that do `then` instead of a training; whatever comes of it, none is left."""
    monkeypatch.setattr(processes, "_WORKER", ("-c", SAYS.replace("THEN", then)))
    monkeypatch.setattr(processes, "_GRACE", 1.0)
    crew = Crew(job, size, "cpu", folder)
    try:
        with crew:
            crew.watch()
    finally:
        assert len(crew.members) == size and all(member.poll() is not None for member in crew.members)
        assert not [child for child in psutil.Process().children() if child.pid in {m.pid for m in crew.members}]
    return crew


def test_progress_and_warnings_come_from_the_first_one(job: Job, tmp_path: Path, monkeypatch: Any) -> None:
    shown: list[Any] = []

    class Noted:
        def __init__(self, *args: int, show: bool) -> None:
            shown.append((*args, show))

        def step(self, epoch: int, step: int) -> None:
            shown.append((epoch, step))

        stats = epoch = shown.append

        def close(self) -> None:
            shown.append("closed")

    monkeypatch.setattr(processes, "Telling", Noted)
    then = """
if rank == 0:
    say("begins", epochs=3, done=1, steps=2)
    say("step", epoch=1, step=0)
    say("stats", figures={"loss": "1.0"})
    say("warning", text="few images")
    say("epoch", row={"epoch": 2})
    say("stopped")
"""
    with pytest.warns(UserWarning, match="few images"):
        crew = run(job, tmp_path, monkeypatch, then)
    assert crew.stopped
    assert shown == [(3, 1, 2, False), (1, 0), {"loss": "1.0"}, {"epoch": 2}, "closed"]


@pytest.mark.parametrize(
    ("then", "kind", "said"),
    [
        ('say("error", type=["Lost", "UserError"][rank], text="no train images", trace=""); sys.exit(1)', UserError, "^no train images$"),
        ('say("error", type="TrainingStopped", text="The loss became nan", trace=""); sys.exit(1)', TrainingStopped, "became nan"),
        ('say("error", type=["Lost", "ValueError"][rank], text="ValueError: 3", trace="File x"); sys.exit(1)', Failed, r"(?s)Process 1 of 0 to 1 failed: ValueError: 3\nFile x.*last finished epoch"),
        ('say("error", type="Lost", text="gone", trace=""); sys.exit(1)', Failed, "failed: gone"),
        ("if rank: os.kill(os.getpid(), 9)\ntime.sleep(60)", Failed, r"Process 1 of 0 to 1 was killed \(SIGKILL\).*short of memory"),
        ('if rank: sys.exit("no module named x")\ntime.sleep(60)', Failed, r"(?s)Process 1 of 0 to 1 ended with exit code 1\..*no module named x"),
    ],
)  # fmt: skip
def test_the_error_of_the_process_that_failed_is_raised(
    job: Job, tmp_path: Path, monkeypatch: Any, then: str, kind: type[Exception], said: str
) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=said) as error:
        run(job, tmp_path, monkeypatch, then)
    assert type(error.value) is kind and time.monotonic() - began < 30


def test_stopped_by_the_user_leaves_no_process(job: Job, tmp_path: Path, monkeypatch: Any) -> None:
    real = Crew._hear

    def interrupted(crew: Crew, rank: int, said: Any) -> None:
        real(crew, rank, said)
        raise KeyboardInterrupt

    monkeypatch.setattr(Crew, "_hear", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(job, tmp_path, monkeypatch, 'say("ready")\ntime.sleep(60)')


def test_a_process_ends_when_nobody_waits_for_it_any_more() -> None:
    code = """
import signal, threading, time
from reidlab.training import worker
signal.signal(signal.SIGTERM, worker._interrupt)
threading.Thread(target=worker._end_with_stdin, daemon=True).start()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("ended", flush=True)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline().strip() == b"ready"
        child.stdin.close()
        assert child.stdout.readline().strip() == b"ended" and child.wait(30) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_in_the_middle_it_keeps_its_checkpoint(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    """The real thing: process 1 is killed after the first epoch."""
    crews: list[Crew] = []
    real = Crew._hear

    def kill(crew: Crew, rank: int, said: Any) -> None:
        if said["kind"] == "epoch" and not crews:
            crews.append(crew)
            os.kill(crew.members[1].pid, signal.SIGKILL)
        real(crew, rank, said)

    monkeypatch.setattr(Crew, "_hear", kill)
    recipe = make_recipe(epochs=40)
    with pytest.raises(Failed, match=r"Process 1 of 0 to 1 was killed \(SIGKILL\)"):
        train(world, tmp_path, recipe, processes=2, progress=True)
    assert all(member.poll() is not None for member in crews[0].members)
    kept = Checkpoints(tmp_path / "checkpoints").load()
    assert kept is not None and 1 <= kept.epochs_done < 40
    assert len(kept.progress["history"]) == kept.epochs_done and len(kept.state["others"]) == 1
    assert json.loads((tmp_path / "checkpoints" / "last.json").read_text())["epochs_done"] == kept.epochs_done


def test_each_process_sees_a_gpu_of_its_own() -> None:
    assert [visible_gpu(rank, {}) for rank in range(2)] == ["0", "1"]
    assert [visible_gpu(rank, {"CUDA_VISIBLE_DEVICES": "3, GPU-ab"}) for rank in range(2)] == ["3", "GPU-ab"]


def test_as_many_gpus_as_processes(job: Job, monkeypatch: Any) -> None:
    monkeypatch.setattr(processes, "check_processes", lambda *_: "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match="processes=2 need as many GPUs, and 1 are here"):
        processes.train_together(job, 2)
