"""Waiting for a process: its limits, what it leaves behind, and the memory of all that it started."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from reidlab.workbook import supervise
from reidlab.workbook.supervise import Limits, stop_tree, watch

MB = 2**20
Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "LOOK", 0.05)
    monkeypatch.setattr(supervise, "ORPHANS", 0.2)


@pytest.fixture
def python() -> Iterator[Start]:
    """Return a function that starts a bare Python with some code."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-S", "-E", "-c", code], stdout=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def with_child(child: str, then: str) -> str:
    """Return the code of a process that starts another one, says its number, and goes on."""
    return (
        f"import os, subprocess, sys, time\nchild = subprocess.Popen([sys.executable, '-S', '-E', '-c', {child!r}])\n"
        f"print(child.pid, flush=True)\n{then}"
    )


def number_said(process: subprocess.Popen[bytes]) -> psutil.Process:
    assert process.stdout is not None
    return psutil.Process(int(process.stdout.readline()))


def gone(process: psutil.Process) -> bool:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_one_that_ends_by_itself(python: Start) -> None:
    process = python("raise SystemExit(3)")
    assert watch(process, Limits()).ended == "" and process.returncode == 3


def test_the_time_limit_ends_it_and_its_children(python: Start) -> None:
    process = python(with_child("import time; time.sleep(600)", "time.sleep(600)"))
    child = number_said(process)
    assert watch(process, Limits(seconds=0.1)).ended == "timeout"
    assert process.returncode is not None and gone(child)


def test_memory_of_all_processes_counts_together(python: Start) -> None:
    hold = "held = b'x' * (60 << 20); import time; time.sleep(600)"
    process = python(with_child(hold, f"exec({hold!r})"))
    child = number_said(process)
    found = watch(process, Limits(memory=110 * MB))  # neither of them alone
    assert found.ended == "memory" and 110 * MB < found.peak < 220 * MB and gone(child)


def test_whoever_wants_it_stopped_is_asked(python: Start) -> None:
    asked: list[bool] = []
    process = python("import time; time.sleep(600)")

    def stop() -> bool:
        asked.append(len(asked) == 2)
        return asked[-1]

    assert watch(process, Limits(stop=stop)).ended == "interrupted" and asked == [False, False, True]


def test_what_a_killed_process_leaves_is_ended(python: Start) -> None:
    process = python(with_child("import time; time.sleep(600)", "time.sleep(600)"))
    child = number_said(process)
    looked = []

    def killed_after_a_look() -> bool:
        looked.append(1)
        if len(looked) == 2:
            process.kill()
        return False

    assert watch(process, Limits(stop=killed_after_a_look)).ended == "" and gone(child)


def test_one_that_ignores_being_asked_is_killed(python: Start) -> None:
    process = python(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('x', flush=True)\ntime.sleep(600)"
    )
    assert process.stdout is not None and process.stdout.readline()
    stop_tree(process, grace=0.1)
    assert process.returncode is not None and process.returncode != 0
