"""One of several processes of a training: `python -m reidlab.training.worker`, started by `reidlab.training.processes`.

stdin brings what to do and stays open as long as anybody waits for it; lines of JSON on stdout say how it goes.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import IO, Any, NoReturn, TextIO

from reidlab.errors import UserError
from reidlab.failures import explained

_ENDING = 10.0  # seconds to close files in, once nobody waits any more


class Line:
    """The way to the process that started this one."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def say(self, kind: str, **values: Any) -> None:
        """Write a line; nobody may be there to read it."""
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(json.dumps({"kind": kind, **values}) + "\n")
            self._stream.flush()


class Relay:
    """What `reidlab.training.telling.Telling` shows, told to the process that started this one."""

    def __init__(self, line: Line, epochs: int, done: int, steps: int, *, show: bool) -> None:
        self._line, self._show = line, show
        if show:
            line.say("begins", epochs=epochs, done=done, steps=steps)

    def step(self, epoch: int, step: int) -> None:
        """Tell of a batch."""
        if self._show:
            self._line.say("step", epoch=epoch, step=step)

    def stats(self, figures: Mapping[str, str]) -> None:
        """Tell figures."""
        if self._show:
            self._line.say("stats", figures=dict(figures))

    def epoch(self, row: Mapping[str, float]) -> None:
        """Tell of a finished epoch."""
        if self._show:
            self._line.say("epoch", row=dict(row))

    def close(self) -> None:
        """Tell nothing: the other process sees the end."""


def main() -> int:
    """Do what stdin says; return the exit code."""
    line = Line(os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no line
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; who started this decides
    signal.signal(signal.SIGTERM, _interrupt)
    about, job = json.loads(sys.stdin.buffer.readline()), pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    if about["rank"] == 0:
        warnings.showwarning = partial(_hand_on, line)
    else:
        warnings.simplefilter("ignore")  # the same ones
    try:
        _work(about, job, line)
    except KeyboardInterrupt:
        return 1
    except Exception as error:
        text = str(error) if isinstance(error, UserError) else explained(error) or f"{type(error).__name__}: {error}"
        line.say("error", type=_kind(error), text=text, trace=traceback.format_exc()[-2000:])
        return 1
    return 0


def leave_at_once(code: int) -> NoReturn:
    """End this process without tidying up the interpreter.

    Threads of torch.distributed that are still about to give back memory then would abort it now and then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _work(about: Mapping[str, Any], job: Any, line: Line) -> None:
    import torch.distributed as dist

    from reidlab.training.group import Group
    from reidlab.training.loop import train

    store = dist.FileStore(about["store"], about["size"])
    group = Group.join(about["kind"], store=store, rank=about["rank"], world_size=about["size"])
    try:
        telling: Any = partial(Relay, line)
        run = train(job, group, telling)
        if group.leads and run is None:
            line.say("stopped")
        group.share(None)  # nobody leaves while another still writes
    finally:
        group.leave()


def _kind(error: Exception) -> str:
    """Return what the other process makes of an error."""
    if type(error).__name__ in ("Lost", "TrainingStopped"):
        return type(error).__name__
    known = isinstance(error, UserError) or explained(error) is not None
    return "UserError" if known else type(error).__name__


def _hand_on(
    line: Line,
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    text: str | None = None,
) -> None:
    line.say("warning", text=str(message))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _end_with_stdin() -> None:
    """End this process when whoever started it is gone."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):  # not by sys.stdin, whose lock an interpreter that ends would wait for
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ENDING)
    os._exit(1)


if __name__ == "__main__":
    leave_at_once(main())
