"""Several processes of one training on this machine, seen from the one that starts them.

Each is `python -m reidlab.training.worker`: it gets its job on stdin, says on stdout how it goes, and ends when stdin
is closed, so that none outlives this process. This one trains nothing. It shows what the first of them tells, and where
one fails or is killed it ends the others and raises what that one said.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from reidlab.errors import UserError
from reidlab.training.alarms import TrainingStopped
from reidlab.training.job import Job, check_processes
from reidlab.training.run import TrainingRun, read_finished
from reidlab.training.telling import Telling

__all__ = ["Crew", "Failed", "train_together"]

_WORKER = ("-m", "reidlab.training.worker")
_GRACE = 5.0  # seconds in which processes end by themselves
_TOLD = 2000  # characters of what a process left on stderr
_KINDS: dict[str, type[UserError]] = {"UserError": UserError, "TrainingStopped": TrainingStopped}


class Failed(UserError):
    """A process of a training crashed or was killed; what it said is in the message."""


def train_together(job: Job, processes: int) -> TrainingRun | None:
    """Do a job in so many processes on this machine, and wait for them.

    Args:
        job: as `reidlab.training.fit` makes it.
        processes: two or more.

    Raises:
        UserError: what one of them raised, or fewer GPUs than processes.
        Failed: one of them crashed or was killed; the checkpoint before that is kept.
    """
    kind = check_processes(processes, job.recipe, job.device)
    if kind == "cuda" and torch.cuda.device_count() < processes:
        raise UserError(
            f"processes={processes} need as many GPUs, and {torch.cuda.device_count()} are here. Take fewer processes, "
            "or device='cpu'."
        )
    with tempfile.TemporaryDirectory(prefix="reidlab-") as folder, Crew(job, processes, kind, Path(folder)) as crew:
        crew.watch()
    found = read_finished(job.folder)
    return None if found is None or crew.stopped else found[0]


class Crew:
    """The processes of one training; leaving the `with` block ends those that still run.

    Args:
        job: of the training.
        size: how many processes.
        kind: cpu or cuda.
        folder: for the file by which they find each other, and for what they leave on stderr.

    Attributes:
        members: the processes by rank.
        stopped: whether they stopped before the end, as `stop_after` wanted.
    """

    def __init__(self, job: Job, size: int, kind: str, folder: Path) -> None:
        self.job, self.size, self.kind, self.folder, self.stopped = job, size, kind, folder, False
        self.members: list[subprocess.Popen[bytes]] = []
        self._orders = pickle.dumps(job)
        self._said: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        self._telling: Telling | None = None
        self._errors: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> Crew:
        try:
            for rank in range(self.size):
                self._start(rank)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, rank: int) -> None:
        threads = str(max(1, torch.get_num_threads() // self.size))
        env = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)}
        env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # a notebook may have added to it
        if self.kind == "cuda":
            env["CUDA_VISIBLE_DEVICES"] = visible_gpu(rank, os.environ)
        with (self.folder / f"stderr-{rank}").open("wb") as errors:
            member = subprocess.Popen(
                [sys.executable, *_WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=env,
            )
        self.members.append(member)
        threading.Thread(target=self._talk, args=(rank, member.stdin, member.stdout), daemon=True).start()

    def _talk(self, rank: int, orders: IO[bytes], answers: IO[bytes]) -> None:
        """Tell a process who it is and what to do; hand on what it says, line by line, and None at its end."""
        about = {"rank": rank, "size": self.size, "kind": self.kind, "store": str(self.folder / "store")}
        with suppress(OSError, ValueError):  # it is gone already: `watch` says so
            orders.write(json.dumps(about).encode() + b"\n")
            orders.write(self._orders)
            orders.flush()
        with answers:
            for line in answers:
                with suppress(ValueError):  # cut short by a kill
                    self._said.put((rank, json.loads(line)))
        self._said.put((rank, None))

    def watch(self) -> None:
        """Show the progress until all processes have ended.

        Raises:
            UserError, Failed: as `train_together`.
        """
        running = set(range(self.size))
        while running:
            heard = self._heard(running, _GRACE)
            if heard is not None and self.members[heard].wait() != 0:
                self._fail(running)

    def _heard(self, running: set[int], seconds: float) -> int | None:
        """Take in the next thing that is said; return the process that has ended, or None where none has."""
        try:
            rank, said = self._said.get(timeout=max(0.0, seconds))  # without end, Ctrl-C would wait on Windows
        except queue.Empty:
            return None
        if said is not None:
            self._hear(rank, said)
            return None
        running.discard(rank)
        return rank

    def _hear(self, rank: int, said: Mapping[str, Any]) -> None:
        """Show what a process says."""
        kind = said["kind"]
        if kind == "begins":
            self._telling = Telling(said["epochs"], said["done"], said["steps"], show=self.job.progress)
        elif kind == "warning":
            warnings.warn(said["text"], stacklevel=2)
        elif kind == "error":
            self._errors[rank] = dict(said)
        elif kind == "stopped":
            self.stopped = True
        elif self._telling is not None and kind == "step":
            self._telling.step(said["epoch"], said["step"])
        elif self._telling is not None and kind == "stats":
            self._telling.stats(said["figures"])
        elif self._telling is not None and kind == "epoch":
            self._telling.epoch(said["row"])

    def _fail(self, running: set[int]) -> None:
        """Wait a little for what the others say, end them, and raise what explains it best."""
        until = time.monotonic() + _GRACE
        while running and time.monotonic() < until:
            self._heard(running, until - time.monotonic())
        codes = [member.poll() for member in self.members]
        self._end()
        raise self._reason(codes)

    def _reason(self, codes: list[int | None]) -> Exception:
        """Return the error of the process that failed by itself: others only lost it."""
        for said in self._errors.values():
            if said["type"] in _KINDS:
                return _KINDS[said["type"]](said["text"])
        kept = "The training goes on from its last finished epoch when it is started again."
        for rank, code in enumerate(codes):
            if code is not None and code < 0:
                name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
                why = " This is how a system short of memory ends processes." if name == "SIGKILL" else ""
                return Failed(
                    f"Process {rank} of 0 to {self.size - 1} was killed ({name}).{why} {kept}{self._left(rank)}"
                )
        others = [(rank, said) for rank, said in self._errors.items() if said["type"] != "Lost"]
        for rank, said in others or list(self._errors.items()):
            return Failed(f"Process {rank} of 0 to {self.size - 1} failed: {said['text']}\n{said['trace']}\n{kept}")
        rank = next((rank for rank, code in enumerate(codes) if code), 0)
        return Failed(
            f"Process {rank} of 0 to {self.size - 1} ended with exit code {codes[rank]}. {kept}{self._left(rank)}"
        )

    def _left(self, rank: int) -> str:
        """Return the end of what a process wrote to stderr."""
        text = (self.folder / f"stderr-{rank}").read_text(encoding="utf-8", errors="replace").strip()
        return f"\n{text[-_TOLD:]}" if text else ""

    def _end(self) -> None:
        """End the processes that still run: they are asked first, then killed."""
        for member in self.members:
            with suppress(OSError):
                member.terminate()
        until = time.monotonic() + _GRACE
        try:
            for member in self.members:
                with suppress(subprocess.TimeoutExpired):
                    member.wait(max(0.0, until - time.monotonic()))
        finally:  # a second Ctrl-C waits for nobody
            for member in self.members:
                member.kill()
                member.wait()

    def __exit__(self, *_: object) -> None:
        if self._telling is not None:
            self._telling.close()
        self._end()
        for member in self.members:
            if member.stdin is not None:
                with suppress(OSError):
                    member.stdin.close()


def visible_gpu(rank: int, env: Mapping[str, str]) -> str:
    """Return what CUDA_VISIBLE_DEVICES must be for a process to have the GPU of its rank, and no other."""
    given = [name.strip() for name in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return given[rank] if rank < len(given) else str(rank)
