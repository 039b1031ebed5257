"""The loop that keeps every worker of a cluster busy with the runs of a sweep, and notes what has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidlab.errors import UserError
from reidlab.sweeps.package import package_code, package_files
from reidlab.sweeps.planning import Plan, Planned
from reidlab.sweeps.progress import State, View
from reidlab.sweeps.rows import Row, keep_row, row_file
from reidlab.sweeps.table import write_table
from reidlab.sweeps.task import Job, carry_out

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Sweeping"]

GRACE = 10.0  # seconds that kernels have to end
_LOOK = 0.2  # seconds between two looks at what has ended
_WRITE = 5.0  # seconds between two tables while runs go on, at least
_SHARE = 50  # times as long as it takes to write one


class Sweeping:
    """Runs of a plan on the workers of a client; `most` of them at the same time, or a thread of a worker for each."""

    def __init__(self, client: Client, plan: Plan, folder: Path, state: State, view: View, most: int | None) -> None:
        self.client, self.plan, self.folder, self.state, self.view, self.most = client, plan, folder, state, view, most
        self.flying: dict[Planned, Future] = {}
        self.since, self.write_at = time.time(), time.monotonic() + _WRITE
        self.code, self.files = package_code(), package_files()

    def run(self, runs: Sequence[Planned]) -> None:
        """Carry all runs out.

        Raises:
            UserError: the scheduler was lost.
        """
        waiting = list(reversed(runs))
        try:
            while waiting or self.flying:
                while waiting and len(self.flying) < self._slots():
                    self._send(waiting.pop())
                self._collect()
                self.view.refresh(self.state)
                if not any(future.done() for future in self.flying.values()):
                    time.sleep(_LOOK)
        except BaseException:
            self._stop()
            raise

    def _slots(self) -> int:
        """Count the runs that may go on now: a thread of a worker for each."""
        workers: Mapping[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
        threads = sum(int(worker["nthreads"]) for worker in workers.values())
        self.state.workers = max(1, min(threads, self.most or threads))
        return self.state.workers

    def _send(self, run: Planned) -> None:
        sweep = self.plan.sweep
        limits = sweep.limits
        made = self.since, self.code, self.files
        job = Job(run, self.folder, sweep.kernel, limits.seconds, limits.memory_bytes, Path.cwd(), *made)
        self.flying[run] = self.client.submit(carry_out, job, pure=False)
        self.state.running[run] = time.monotonic()

    def _collect(self) -> None:
        for run, future in list(self.flying.items()):
            if not future.done():
                continue
            row = self._row(run, future)
            del self.flying[run], self.state.running[run]
            self.state.ended.append((run, row))
            self.view.ended(self.state, run, row)
            began = time.monotonic()
            if began >= self.write_at:
                write_table(self.plan, self.folder)
                took = time.monotonic() - began
                self.write_at = began + max(_WRITE, _SHARE * took)  # a table of thousands of runs takes its time

    def _row(self, run: Planned, future: Future) -> Row:
        """Return the row of a run that has ended; one whose workers died again and again has failed."""
        if future.cancelled():
            raise UserError(
                "the Dask scheduler was lost. What has ended is kept: start a scheduler, and the same command goes on."
            )
        error = future.exception()
        if error is None:
            row: Row = future.result()
            if row.status != "interrupted" and not row_file(self.folder, row.digest).is_file():
                keep_row(self.folder, row)  # a worker that came later and does not see the folder
            return row
        first = (str(error).splitlines() or [""])[0]
        seconds = round(time.monotonic() - self.state.running[run], 2)
        row = Row(run.digest, "failed", seconds, error=type(error).__name__, message=first)
        keep_row(self.folder, row)
        return row

    def _stop(self) -> None:
        """Let the workers stop what they do, and wait until kernels have ended."""
        if self.client.status != "running":
            return
        self.client.cancel(list(self.flying.values()), force=True)
        end = time.monotonic() + GRACE
        while time.monotonic() < end and any(self.client.processing().values()):
            time.sleep(_LOOK)
