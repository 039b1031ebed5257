"""What a worker does: run one notebook within its limits, and keep the row before anybody is told.

The worker keeps the row itself, so that a sweep whose command was killed has lost no run that had ended. A lock per
run, freed by the system when its process dies, lets a run that was begun again wait for one that still goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reidlab
from reidlab.errors import UserError
from reidlab.failures import explained
from reidlab.store.provenance import git_state
from reidlab.store.runs import locked
from reidlab.sweeps.package import package_code, package_files
from reidlab.sweeps.planning import Planned, source_digest
from reidlab.sweeps.rows import Row, keep_row, read_row, row_file
from reidlab.workbook.cells import read_notebook, result_of
from reidlab.workbook.runner import Outcome, run_notebook

__all__ = ["Job", "carry_out", "sight"]

_WAIT = 0.5  # seconds between two looks at a lock


@dataclass(frozen=True)
class Job:
    """A run as it is sent to a worker.

    Attributes:
        run: which one.
        folder: of the sweep, where row and executed notebook are kept.
        kernel: Jupyter's name.
        seconds: limit of time, or None.
        memory: limit in bytes, or None.
        called_from: the folder that paths among the parameters count from.
        since: seconds since the epoch; a row that was kept later is taken as it is.
        code, files: digests of the package when the sweep began (`package_code`, `package_files`).
    """

    run: Planned
    folder: Path
    kernel: str
    seconds: float | None
    memory: int | None
    called_from: Path
    since: float
    code: str
    files: str


def sight(folder: Path) -> tuple[str, str, bool]:
    """Return a worker's version of reidlab, the digest of its files, and whether it sees the folder of a sweep."""
    return reidlab.__version__, package_files(), folder.is_dir()


def carry_out(job: Job) -> Row:
    """Run a notebook and keep its row; whatever goes wrong with the run is in the row.

    A run that is cancelled, or whose worker is closed, stops with its kernel and keeps nothing.
    """
    stop = _cancelled()
    if not job.folder.is_dir():
        return Row(job.run.digest, "failed", error="UserError", message=f"this Dask worker does not see {job.folder}")
    while not stop():
        with locked(job.run.digest, wait=False) as ours:
            if ours:
                return _kept_meanwhile(job) or _carried_out(job, stop)
        time.sleep(_WAIT)
    return Row(job.run.digest, "interrupted")


def _kept_meanwhile(job: Job) -> Row | None:
    """Return the row that another attempt at the same run has kept since this one was sent."""
    file = row_file(job.folder, job.run.digest)
    row = read_row(file)
    return row if row is not None and file.stat().st_mtime >= job.since else None


def _carried_out(job: Job, stop: Callable[[], bool]) -> Row:
    began = time.time()
    try:
        if source_digest(read_notebook(job.run.notebook)) != job.run.source:
            raise UserError(f"{job.run.notebook.name} has changed since the sweep began; run the sweep again.")
        _check_code(job)
        outcome = run_notebook(
            job.run.notebook,
            job.run.given,
            output=job.folder / "notebooks" / job.run.file,
            kernel=job.kernel,
            timeout=job.seconds,
            memory=job.memory,
            stop=stop,
            called_from=job.called_from,
        )
        row = _row(job, outcome, began)
        _check_code(job)  # while it ran
    except Exception as error:
        row = _failed(job.run, error, began)
    if row.status != "interrupted":
        keep_row(job.folder, row)
    return row


def _check_code(job: Job) -> None:
    """Refuse to make a row by code of which a part is not the sweep's; another comment is no other code."""
    if package_files() != job.files and package_code() != job.code:
        raise UserError("the code of reidlab has changed since the sweep began; run the sweep again.")


def _row(job: Job, outcome: Outcome, began: float) -> Row:
    failure, there = outcome.failure, outcome.output.is_file()
    return Row(
        job.run.digest,
        outcome.status,
        seconds=outcome.seconds,
        memory_mb=outcome.memory_mb,
        result=_result(outcome.output) if there and outcome.ok else {},
        error=failure.error if failure else "",
        message=failure.message if failure else "",
        cell=failure.cell if failure else "",
        executed=outcome.output.name if there else "",
        began=_utc(began),
        commit=_commit(),
        code=job.code,
    )


def _failed(run: Planned, error: Exception, began: float) -> Row:
    """Return the row of a run whose notebook could not even be begun."""
    said = str(error) if isinstance(error, UserError) else explained(error) or str(error)
    seconds = round(time.time() - began, 2)
    return Row(run.digest, "failed", seconds, error=type(error).__name__, message=said, began=_utc(began))


def _result(executed: Path) -> dict[str, Any]:
    """Return the key figures of an executed notebook in their order; what is not finite is None.

    JSON has no such numbers, and a kernel writes them as text: "nan", "inf", "-inf".
    """
    found = result_of(read_notebook(executed))
    metrics = found.get("metrics")
    if not isinstance(metrics, Mapping):
        return {}
    names = [name for name in found.get("order", []) if name in metrics] or list(metrics)
    values = {name: metrics[name] for name in names}
    return {name: None if _not_finite(value) else value for name, value in values.items()}


def _not_finite(value: Any) -> bool:
    return value in ("nan", "inf", "-inf") or (isinstance(value, float) and not math.isfinite(value))


def _cancelled() -> Callable[[], bool]:
    """Return a function that says whether nobody wants this Dask task any more, or its worker is closed."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def asked() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state in ("cancelled", "released", "forgotten") or "clos" in worker.status.name

    return asked


def _commit() -> str:
    state = git_state()
    return f"{state['commit']}{'+' * state['dirty']}"


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
