"""Carrying a sweep out: runs that are not finished go to the workers of Dask, as many at a time as there are workers.

A worker that is lost takes only its own run with it, which is begun again elsewhere. When the command is stopped or
killed, workers, kernels and all that they started end too; the same command goes on with what is left.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reidlab
from reidlab.documents import read_json
from reidlab.errors import UserError
from reidlab.retrieval.cluster import explained, threads_of, workers_of
from reidlab.retrieval.ranking import n_threads
from reidlab.space import check_space
from reidlab.sweeps.loop import GRACE, Sweeping
from reidlab.sweeps.package import package_code, package_files
from reidlab.sweeps.planning import Plan, Planned
from reidlab.sweeps.progress import State, view_of
from reidlab.sweeps.rows import Row, finished_rows, keep, keep_row, read_row, row_file, set_aside, sweeps_root
from reidlab.sweeps.table import SweepTable, list_sweeps, read_sweep, write_table
from reidlab.sweeps.task import sight
from reidlab.sweeps.tracked import log_sweep

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["default_workers", "folder_of", "outdated", "run_sweep", "running_sweeps"]

_LOST = "What has ended is kept; the same command goes on."
_TRIES = 10  # a second apart
USUAL_MEMORY = 2 * 10**9  # bytes that a run without a limit is thought to need: torch, a small model and its batches
LOCK, TODO = ".lock", ".todo.json"


def folder_of(plan: Plan) -> Path:
    """Return the folder of a sweep's results."""
    return sweeps_root() / plan.label


def default_workers(plan: Plan, runs: int) -> int:
    """Return how many runs go on at the same time here: a core and the memory of a run for each.

    Args:
        plan: its limit of memory is what a run is thought to need; without one 2 GB.
        runs: how many there are.
    """
    import psutil

    each = plan.sweep.limits.memory_bytes or USUAL_MEMORY
    return max(1, min(runs, n_threads(), psutil.virtual_memory().available // each))


def run_sweep(
    plan: Plan,
    *,
    workers: int | None = None,
    scheduler: str = "",
    again: bool = False,
    keep_failed: bool = False,
    any_code: bool = False,
    view: str = "auto",
) -> SweepTable:
    """Run what is not finished of a sweep, and write its table.

    Runs that other code of this package made are not finished: a table of two codes compares nothing. Stages whose own
    code is the same are reused, so that such a run takes little more than its notebook.

    Args:
        plan: of `plan_sweep`.
        workers: runs at the same time; None: the file's, or as many as cores and memory allow. With a scheduler: at
            most so many.
        scheduler: address of a running Dask scheduler; "" starts processes here.
        again: finished runs too.
        keep_failed: leave runs alone that have failed before; otherwise they are tried again.
        any_code: take finished runs by whatever code they were made.
        view: of the progress; see `progress.view_of`.

    Raises:
        UserError: the sweep is being run by another process, no such scheduler, workers of another version, with other
            code or that do not see the folder of the sweep, or the scheduler was lost.
    """
    folder = folder_of(plan)
    check_space(folder, 0, f"Sweep {plan.sweep.name}")
    with _alone(folder, plan):
        open_runs = list(plan.runs) if again else _open(plan, folder, keep_failed, any_code)
        keep(folder / TODO, json.dumps({"since": time.time(), "open": [run.digest for run in open_runs]}))
        write_table(plan, folder)
        if open_runs:
            count = workers or plan.sweep.workers
            most = count if scheduler else min(count or default_workers(plan, len(open_runs)), len(open_runs))
            state = State(len(plan.runs), len(plan.runs) - len(open_runs), most or len(open_runs))
            with _cluster(scheduler, most or 1) as client, view_of(view) as shown, explained(_LOST):
                if scheduler:
                    _check_workers(client, folder)
                Sweeping(client, plan, folder, state, shown, most).run(open_runs)
        table = write_table(plan, folder)
        if "mlflow" in plan.sweep.tracking:
            log_sweep(table, plan.sweep.about)
        return table


def running_sweeps() -> list[dict[str, Any]]:
    """Return the sweeps that are being run: sweep (name-digest), runs, ended and failed; the latest last."""
    found = []
    for folder in list_sweeps():
        if _is_locked(folder):
            try:
                digests = read_sweep(folder).frame["digest"]
            except UserError:  # it is damaged; the sweep that runs writes it anew
                continue
            ended = [row for digest in digests if (row := read_row(row_file(folder, digest))) and _is_new(folder, row)]
            failed = sum(not row.ok for row in ended)
            found.append({"sweep": folder.name, "runs": len(digests), "ended": len(ended), "failed": failed})
    return found


def _is_new(folder: Path, row: Row) -> bool:
    """Return whether a row is no longer to be made: one of a run that is done again is old until that has ended."""
    try:
        todo = read_json(folder / TODO, TODO)
        return row.digest not in todo["open"] or row_file(folder, row.digest).stat().st_mtime >= todo["since"]
    except (UserError, OSError, KeyError, TypeError):  # none was written yet
        return True


def _is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock of a sweep; the system frees it when that process dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@contextmanager
def _alone(folder: Path, plan: Plan) -> Iterator[None]:
    """Hold the lock of a sweep, freed by the system when this process dies."""
    from filelock import FileLock, Timeout

    (folder / "rows").mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"sweep {plan.label} is being run by another process; wait for it, or stop it first.") from None
    try:
        yield
    finally:
        lock.release()


def outdated(plan: Plan) -> set[str]:
    """Return the digests of runs that came to their end, but by other code of this package."""
    digests = [run.digest for run in plan.runs]
    return set(finished_rows(digests)) - set(finished_rows(digests, package_code()))


def _open(plan: Plan, folder: Path, keep_failed: bool, any_code: bool) -> list[Planned]:
    """Return the runs that are to be done; those finished in another sweep are copied from there."""
    code = "" if any_code else package_code()
    found = finished_rows((run.digest for run in plan.runs), code, folder)
    for run in plan.runs:
        row, home = found.get(run.digest, (None, None))
        if home == folder:
            continue
        own = read_row(row_file(folder, run.digest))
        if own is not None and own.ok:
            set_aside(folder, run.digest)  # of other code: a table must not have two
        if row is not None and home is not None:
            _copy(row, home, folder, run)
    waiting = [run for run in plan.runs if run.digest not in found]
    return [run for run in waiting if not (keep_failed and _has_failed(read_row(row_file(folder, run.digest))))]


def _has_failed(row: Row | None) -> bool:
    return row is not None and not row.ok


def _copy(row: Row, home: Path, folder: Path, run: Planned) -> None:
    executed = home / "notebooks" / row.executed
    copied = ""
    if row.executed and executed.is_file():
        copied = run.file
        (folder / "notebooks").mkdir(exist_ok=True)
        shutil.copyfile(executed, folder / "notebooks" / copied)
    keep_row(folder, Row(**{**vars(row), "executed": copied}))


@contextmanager
def _cluster(scheduler: str, workers: int) -> Iterator[Client]:
    """Give a client; in the end see to it that nothing which was started here is left, however it came to its end."""
    import psutil

    env = threads_of(max(1, n_threads() // workers))
    started: set[psutil.Process] = set()
    try:
        with workers_of(scheduler, workers, threads=1, env=env) as client:
            try:
                yield client
            finally:
                started |= set(psutil.Process().children(recursive=True)) if not scheduler else set()
    finally:
        _, left = psutil.wait_procs([each for each in started if _is_ours(each)], timeout=GRACE)
        for each in left:
            each.kill()


def _is_ours(process: Any) -> bool:
    """Return whether a process was started for the workers; multiprocessing's own helper lives as long as we do."""
    import psutil

    try:
        return "resource_tracker" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _asked(client: Client, folder: Path) -> dict[str, Any]:
    """Ask all workers what they see; one that is lost meanwhile is not asked again."""
    for _ in range(_TRIES):
        with suppress(OSError):
            answers: dict[str, Any] = client.run(sight, folder, on_error="return")
            if not any(isinstance(answer, OSError) for answer in answers.values()):
                return answers
        time.sleep(1)
    raise UserError("the Dask workers come and go: none of them could be asked what it sees.")


def _check_workers(client: Client, folder: Path) -> None:
    """Refuse workers that would compute something else, or keep it elsewhere."""
    files = package_files()
    for place, answer in _asked(client, folder).items():
        if isinstance(answer, BaseException):
            raise answer
        version, code, sees = answer if len(answer) == 3 else (answer[0], "", True)  # code of before it was told
        if version != reidlab.__version__:
            raise UserError(f"the Dask worker {place} has reidlab {version}, this is {reidlab.__version__}.")
        if code != files:
            raise UserError(f"the Dask worker {place} has other code of reidlab than this; bring both to the same.")
        if not sees:
            raise UserError(
                f"the Dask worker {place} does not see {folder}: put the folder of reports on a disk that all machines "
                "share (REIDLAB_REPORTS)."
            )
