"""Waiting for the process that runs a notebook: its time, its memory and whoever wants it stopped; and ending it.

Memory is what the process and all that it started (kernel, loaders) hold together, sampled twice a second. On Linux a
page that several of them share counts once (proportional set size); elsewhere resident sizes are added up.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

__all__ = ["Limits", "Watched", "stop_tree", "watch"]

LOOK = 0.5  # seconds between two looks
ORPHANS = 3.0  # seconds that kernels have to notice that the process which started them is gone


@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Attributes:
        seconds: for the whole notebook; None: any.
        memory: bytes, of all its processes together; None: any.
        stop: asked twice a second; whether the run shall end now. None: nobody stops it.
    """

    seconds: float | None = None
    memory: int | None = None
    stop: Callable[[], bool] | None = None


@dataclass(frozen=True)
class Watched:
    """How the wait ended.

    Attributes:
        ended: "" where the process ended by itself; else timeout, memory or interrupted, and the process is stopped.
        peak: the most memory in bytes that was seen; 0 where the process was gone before the first look.
    """

    ended: str
    peak: int


def watch(process: subprocess.Popen[Any], limits: Limits) -> Watched:
    """Wait for a process that we started; stop it with all that it started where a limit is reached.

    What it leaves behind when it dies, such as a kernel whose parent was killed, is ended too.
    """
    began, peak, ended = time.monotonic(), 0, ""
    family: set[psutil.Process] = set()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK)
            break
        family |= _family(process.pid)
        peak = max(peak, _memory(family))
        ended = _reached(limits, time.monotonic() - began, peak)
        if ended:
            stop_tree(process)
            break
    _end(family, patience=0 if ended else ORPHANS)
    return Watched(ended, peak)


def _reached(limits: Limits, seconds: float, peak: int) -> str:
    """Return which limit was reached; "" where none was."""
    if limits.stop is not None and limits.stop():
        return "interrupted"
    if limits.memory is not None and peak > limits.memory:
        return "memory"
    return "timeout" if limits.seconds is not None and seconds > limits.seconds else ""


def stop_tree(process: subprocess.Popen[Any], grace: float = 5.0) -> None:
    """End a process that we started, and all that it started: politely, then for good."""
    family = _family(process.pid)
    for member in family:
        _quietly(member.terminate)
    _end(family, patience=grace)
    process.wait()


def _end(family: Iterable[psutil.Process], patience: float) -> None:
    """Kill those processes that still run after some seconds."""
    import psutil

    _, alive = psutil.wait_procs(list(family), timeout=patience)
    for member in alive:
        _quietly(member.kill)


def _family(pid: int) -> set[psutil.Process]:
    """Return a process and all that it started; nothing where it is gone."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    return set()


def _memory(family: Iterable[psutil.Process]) -> int:
    import psutil

    total = 0
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                full = member.memory_full_info()
                total += getattr(full, "pss", full.rss)
            except psutil.AccessDenied:
                total += member.memory_info().rss
    return total


def _quietly(act: Callable[[], None]) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        act()
