"""The process that runs one notebook: reads a request from stdin, runs papermill, writes how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from reidlab.progress import BATCH, PROGRESS
from reidlab.workbook.frugal import forgo

__all__ = ["main"]

START_TROUBLE = ("Kernel died before replying", "Kernel didn't respond", "Address already in use")


def main() -> None:
    """Run the notebook that stdin's first line asks for; stop when stdin ends, which means the caller is gone."""
    request = json.loads(sys.stdin.readline())
    # What the kernel prints past Jupyter goes to the log; progress keeps the terminal.
    terminal = os.fdopen(os.dup(2), "w")
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if request["bar"]:
        sys.stderr = terminal
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_watch, daemon=True).start()
    with _forwarded(request["lines"], terminal):
        status, failure = execute(request)
    Path(request["answer"]).write_text(json.dumps({"status": status, "failure": failure}))


def execute(request: dict[str, Any]) -> tuple[str, dict[str, str] | None]:
    """Run papermill; return the status and, if it failed, the failure. Starting the kernel is tried twice."""
    forgo(remote=True)
    import papermill
    from papermill.exceptions import PapermillExecutionError

    os.environ[BATCH] = "1"
    os.environ["TQDM_DISABLE"] = "1"  # of the kernel; tqdm here, which papermill has loaded, has read it already
    for attempt in range(2):
        try:
            notebook = papermill.execute_notebook(
                request["input"],
                request["output"],
                parameters=request["parameters"],
                kernel_name=request["kernel"],
                execution_timeout=request["cell_timeout"],
                progress_bar=request["bar"],
            )
        except PapermillExecutionError as error:
            trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
            return "failed", _failure(error.ename, error.evalue, error.source, trace)
        except (Exception, KeyboardInterrupt) as error:
            if attempt == 0 and any(text in str(error) for text in START_TROUBLE):
                continue
            kind = type(error).__name__
            if kind == "DeadKernelError":
                return "failed", _failure(kind, "the kernel died; most often memory ran out (see `dmesg`)")
            return "failed", _failure(kind, str(error).strip() or kind)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        exits = [o for o in outputs if o.output_type == "error" and o.ename == "SystemExit"]
        return ("stopped" if exits else "done"), None
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _forwarded(lines: str, terminal: TextIO) -> Iterator[None]:
    """Show on the terminal what the kernel says (`reidlab.progress`), above papermill's bar; "" shows nothing."""
    if not lines:
        yield
        return
    os.environ[PROGRESS] = lines
    ended = threading.Event()
    Path(lines).touch()
    reader = threading.Thread(target=_show, args=(Path(lines), terminal, ended), daemon=True)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join(5)


def _show(file: Path, terminal: TextIO, ended: threading.Event) -> None:
    from tqdm.auto import tqdm

    with file.open(encoding="utf-8", errors="replace") as source, contextlib.suppress(OSError):  # a terminal may go
        while True:
            last = ended.is_set()
            for line in source.read().splitlines():
                tqdm.write(line, file=terminal)
            terminal.flush()
            if last:
                return
            ended.wait(0.3)


def _failure(error: str, message: str, cell: str = "", traceback: str = "") -> dict[str, str]:
    return {"error": error, "message": message, "cell": cell, "traceback": traceback}


def _stop(*_: object) -> None:
    raise KeyboardInterrupt  # papermill and nbclient shut the kernel down on their way out


def _watch() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
