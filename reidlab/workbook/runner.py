"""Running notebooks by papermill, one process per notebook, with checked parameters and a time limit.

The process runs in the notebook's folder (as JupyterLab and nbval do) and gets relative paths, so that the
executed notebook names no folder of this machine. It stops, with its kernel, when the caller stops or dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nbformat

from reidlab.errors import UserError, nearest
from reidlab.paths import CALLED_FROM
from reidlab.store import provenance
from reidlab.workbook.cells import parameter_model, read_notebook, title_of
from reidlab.workbook.files import write_whole
from reidlab.workbook.outputs import executed_root, make_way, publish
from reidlab.workbook.supervise import Limits, Watched, stop_tree, watch

__all__ = ["Failure", "Outcome", "executed_root", "run_notebook"]

_LABEL = re.compile(r"[\w.+-]+")
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
NOISE = ("Kernel is running over TCP",)


@dataclass(frozen=True)
class Failure:
    """Where and how a notebook failed."""

    error: str
    message: str
    cell: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        notebook: its file.
        output: the executed copy.
        status: done, stopped (SystemExit), failed, timeout, memory or interrupted.
        seconds: it took.
        failure: where and how it failed.
        memory_mb: the most that kernel and helpers held at once, as far as it was seen (`workbook.supervise`).
    """

    notebook: Path
    output: Path
    status: str
    seconds: float
    failure: Failure | None = None
    memory_mb: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the notebook came to its end, or stopped by its own will."""
        return self.status in ("done", "stopped")


def run_notebook(
    notebook: Path,
    params: Mapping[str, Any] | None = None,
    *,
    label: str = "",
    output: Path | None = None,
    kernel: str = "python3",
    timeout: float | None = None,
    memory: int | None = None,
    stop: Callable[[], bool] | None = None,
    cell_timeout: int | None = None,
    cwd: Path | None = None,
    called_from: Path | None = None,
    progress: bool = False,
    bar: bool = False,
) -> Outcome:
    """Run a notebook and keep the executed copy, partial where it failed.

    Args:
        notebook: the notebook's file; `cells.find_notebook` finds it by number or name.
        params: parameters that differ from the defaults, as values or as text.
        label: added to the output's name: `03_training-<label>.ipynb`.
        output: the executed notebook's file; reports/executed/<name>[-label].ipynb by default.
        kernel: name of the Jupyter kernel.
        timeout: seconds for the whole notebook, after which it is stopped with its kernel.
        memory: bytes that its processes may hold together; above, it is stopped with its kernel.
        stop: asked twice a second; whether the notebook shall be stopped now.
        cell_timeout: seconds for one cell.
        cwd: the kernel's working directory, the notebook's folder by default.
        called_from: the folder that paths among the parameters count from, this process's by default.
        progress: show on stderr the lines that the notebook says of its progress, such as one for each epoch.
        bar: show papermill's bar over the cells on stderr as well.

    Raises:
        UserError: unknown or unfit parameters, a missing kernel or notebook, an output that would replace something
            else than an executed notebook; before any kernel starts.
    """
    notebook = notebook.resolve()
    source = read_notebook(notebook)
    given = dict(params or {})
    checked = parameter_model(notebook, source).from_values(given)
    check_kernel(kernel)
    target = _target(notebook, label, output)
    beside = make_way(target)
    folder = (cwd or notebook.parent).resolve()
    request = {
        "input": os.path.relpath(notebook, folder),
        "output": os.path.relpath(beside, folder),
        "parameters": {name: _json(getattr(checked, name)) for name in given},
        "kernel": kernel,
        "called_from": str(called_from or Path.cwd()),
        "cell_timeout": cell_timeout,
        "progress": progress,
        "bar": bar,
    }
    began = time.time()
    try:
        blank = Outcome(notebook, beside, "failed", 0.0)
        outcome = _supervise(request, folder, blank, Limits(timeout, memory, stop))
        outcome = replace(outcome, seconds=round(time.time() - began, 2))
        values = {name: _json(value) for name, value in checked}
        changed = {name: values[name] for name in checked.changed()}
        more = {"parameters": values, "changed": changed, "began": began, "title": title_of(source)}
        _sign(outcome, more, os.path.relpath(target, folder))
    finally:
        publish(beside, target)
    return replace(outcome, output=target)


def _target(notebook: Path, label: str, output: Path | None) -> Path:
    """Return the path of the executed notebook; refuse a label or an output that cannot be one."""
    if label and not _LABEL.fullmatch(label):
        raise UserError(f"--label {label!r} becomes part of a file name: letters, digits, '.', '_', '+' and '-' only.")
    target = (output or executed_root() / f"{notebook.stem}{'-' + label if label else ''}.ipynb").resolve()
    if target == notebook:
        raise UserError(f"The output {target.name} is the notebook itself. Give another --output.")
    if target.suffix != ".ipynb":
        raise UserError(f"The output {target.name} must be a notebook: give --output a name that ends in .ipynb.")
    return target


def check_kernel(name: str) -> None:
    """Refuse a kernel that is not installed.

    Raises:
        UserError: with the line that installs it.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    known = KernelSpecManager().find_kernel_specs()
    if name not in known:
        raise UserError(
            f"There is no Jupyter kernel {name!r}.{nearest(name, known)} Installed: {', '.join(known) or 'none'}. "
            f"`python -m ipykernel install --sys-prefix --name {name}` installs this environment under that name."
        )


def _supervise(request: dict[str, Any], folder: Path, outcome: Outcome, limits: Limits) -> Outcome:
    """Run the child process, wait for it, stop it where it reaches a limit; read how it ended."""
    with tempfile.TemporaryDirectory(prefix="reidlab-run-") as scratch:
        answer, log = Path(scratch) / "answer.json", Path(scratch) / "log"
        env = {**os.environ, CALLED_FROM: request.pop("called_from"), "PYTHONUNBUFFERED": "1"}
        words = [sys.executable, "-m", "reidlab.workbook.child"]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, cwd=folder, env=env, start_new_session=True)
        assert child.stdin is not None
        try:
            lines = str(Path(scratch) / "lines") if request.pop("progress") else ""
            request |= {"answer": str(answer), "log": str(log), "lines": lines}
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write((json.dumps(request) + "\n").encode())
                child.stdin.flush()  # left open: its end tells the child that we are gone
            watched = watch(child, limits)
        except BaseException:
            stop_tree(child)
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
        outcome = replace(outcome, memory_mb=round(watched.peak / 10**6, 1) if watched.peak else None)
        if watched.ended:
            return replace(outcome, status=watched.ended, failure=_reached(watched, limits, _running_cell(outcome)))
        if answer.is_file():
            told = json.loads(answer.read_text())
            failure = Failure(**told["failure"]) if told["failure"] else None
        else:
            told = {"status": "failed"}
            failure = Failure("ProcessDied", f"the process ended with code {child.returncode}. {_tail(log)}".strip())
        if failure and not failure.cell:
            failure = replace(failure, cell=_running_cell(outcome))
        return replace(outcome, status=told["status"], failure=failure)


def _reached(watched: Watched, limits: Limits, cell: str) -> Failure:
    """Return what a run that was stopped failed at."""
    if watched.ended == "timeout":
        return Failure("Timeout", f"stopped after the time limit of {limits.seconds:g} s", cell)
    if watched.ended == "memory":
        held, limit = watched.peak / 10**6, (limits.memory or 0) / 10**6
        return Failure("MemoryLimit", f"stopped at {held:,.0f} MB, above the limit of {limit:,.0f} MB", cell)
    return Failure("Interrupted", "stopped from outside", cell)


def _running_cell(outcome: Outcome) -> str:
    """Return the source of the last cell that had begun when the notebook was last saved."""
    source = ""
    with contextlib.suppress(UserError):
        for cell in read_notebook(outcome.output).cells:
            if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time"):
                source = str(cell.source)
    return source


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace") if log.is_file() else ""
    return "\n".join([line for line in text.splitlines() if not any(n in line for n in NOISE)][-15:])


def _sign(outcome: Outcome, more: dict[str, Any], name: str) -> None:
    """Write into the executed notebook how it was made and its name to be; the report reads it."""
    try:
        notebook = read_notebook(outcome.output)
    except UserError:  # the run died before there was one, or while it was written
        return
    notebook.metadata["reidlab"] = {
        "status": outcome.status,
        "seconds": outcome.seconds,
        "peak_memory_mb": outcome.memory_mb,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(more.pop("began"))),
        "failure": asdict(outcome.failure) | {"traceback": ""} if outcome.failure else None,
        "git": provenance.git_state(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        **more,
    }
    if "papermill" in notebook.metadata:
        notebook.metadata.papermill["output_path"] = name
    _forget_widgets(notebook)
    write_whole(outcome.output, nbformat.writes(notebook))


def _forget_widgets(notebook: nbformat.NotebookNode) -> None:
    """Drop the state of widgets, megabytes of it, that no output shows, by itself or in another one."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    views = [output.data[VIEW] for output in outputs if VIEW in output.get("data", {})]
    kept = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state")
    if not views or kept is None:
        notebook.metadata.pop("widgets", None)
        return
    shown: set[str] = set()
    waiting = [str(view.get("model_id")) for view in views]
    while waiting:
        model = waiting.pop()
        if model in kept and model not in shown:
            shown.add(model)
            waiting += re.findall(r"IPY_MODEL_(\w+)", json.dumps(kept[model]))
    notebook.metadata["widgets"][STATE]["state"] = {model: kept[model] for model in kept if model in shown}


def _json(value: Any) -> Any:
    return [_json(part) for part in value] if isinstance(value, (tuple, list)) else value
