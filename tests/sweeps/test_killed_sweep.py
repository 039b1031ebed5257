"""A sweep whose worker, then whose command is killed, then which is stopped: it goes on, to the same table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from reidlab.sweeps import SweepTable, load_sweep, plan_sweep, read_sweep, run_sweep

pytestmark = [pytest.mark.notebook, pytest.mark.slow]
Make = Callable[..., Path]
LONG = 900  # seconds; a busy machine needs many of them
# whoever starts the tests in the background of a shell lets them, and all that they start, ignore Ctrl-C
HEEDFUL = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"

# a run says that it has begun, waits until the gate of its `a` is open, and fails for 3
CELLS = (
    "import os, time\nfrom pathlib import Path\nfrom reidlab.workbook import Result",
    "with (Path(place) / f'begun-{a}').open('a') as begun:\n    begun.write(f'{os.getpid()}\\n')\n"
    "while not (Path(place) / f'open-{a}').exists():\n    time.sleep(0.05)",
    "1 / (a - 3)",
    "Result({'score': a / 4, 'name': f'run {a}', 'none': float('nan')})",
)


class Place:
    """A sweep over a = 1 ... n of the notebook above, and what its runs say."""

    def __init__(self, folder: Path, notebook: Path, runs: int) -> None:
        self.folder, self.file = folder, folder / "gates.yaml"
        self.file.write_text(
            yaml.safe_dump(
                {
                    "notebooks": str(notebook),
                    "params": {"place": str(folder)},
                    "grid": {"a": list(range(1, runs + 1))},
                    "workers": 2,
                }
            )
        )

    def open(self, *numbers: int) -> None:
        for number in numbers:
            (self.folder / f"open-{number}").touch()

    def begun(self, number: int) -> list[int]:
        """Return the processes that have begun a run, the latest last."""
        file = self.folder / f"begun-{number}"
        return [int(line) for line in file.read_text().split()] if file.is_file() else []

    def kept(self, number: int) -> bool:
        return any(
            f'"executed": "{number:03d}-' in file.read_text() for file in self.folder.glob("reports/sweeps/*/rows/*")
        )

    def command(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", HEEDFUL, sys.executable, "-m", "reidlab", "sweep", str(self.file)]
        return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _is_kernel(process: psutil.Process) -> bool:
    try:
        return "ipykernel" in " ".join(process.cmdline())
    except psutil.Error:  # it has ended: Dask's own process is still to be waited for
        return False


@pytest.fixture
def place(tmp_path: Path, make_notebook: Make) -> Iterator[Callable[[int], Place]]:
    notebook = make_notebook("gates", *CELLS, parameters="a: int = 1  # which\nplace: str = ''  # of its gates")
    yield lambda runs: Place(tmp_path, notebook, runs)
    assert not [child for child in psutil.Process().children(recursive=True) if _is_kernel(child)]


def done(place: Place, **more: object) -> SweepTable:
    return run_sweep(plan_sweep(load_sweep(place.file)), view="lines", **more)  # type: ignore[arg-type]


def test_killed_in_every_way_and_resumed_to_the_same_table(place: Callable[[int], Place]) -> None:
    here = place(4)
    command = here.command()
    until(lambda: here.begun(1) and here.begun(2))
    here.open(1)
    until(lambda: here.kept(1) and here.begun(3))
    # a worker is killed: the run that it had begins again, the other one goes on
    kernel = psutil.Process(here.begun(2)[0])
    worker = kernel.parent().parent()  # type: ignore[union-attr]
    assert "spawn" in " ".join(worker.cmdline())
    worker.kill()
    until(lambda: len(here.begun(2)) == 2 and gone(here.begun(2)[0]))
    assert len(here.begun(1)) == len(here.begun(3)) == 1 and not gone(here.begun(3)[0])
    # the command, which is the scheduler too
    command.kill()
    command.communicate()
    until(lambda: gone(here.begun(2)[1]) and gone(here.begun(3)[0]))
    # Ctrl-C in a terminal goes to all processes of the group
    command = here.command()
    until(lambda: len(here.begun(2)) == 3 and len(here.begun(3)) == 2)
    os.killpg(command.pid, signal.SIGINT)
    _, said = command.communicate(timeout=LONG)
    assert command.returncode == 130 and b"stopped. Kept: every run" in said and b"Traceback" not in said
    assert gone(here.begun(2)[2]) and gone(here.begun(3)[1])
    # resumed: what was finished is not run again
    here.open(2, 3, 4)
    table = done(here)
    assert [len(here.begun(number)) for number in (1, 2, 3, 4)] == [1, 4, 3, 1]
    assert table.counts == {"done": 3, "failed": 1} and not (here.folder / "reports" / "executed").exists()
    check(table)
    # read again, it is the same; run again, only the failed run is
    pd.testing.assert_frame_equal(read_sweep("gates").frame, table.frame, check_dtype=False)
    again = done(here)
    assert [len(here.begun(number)) for number in (1, 2, 3, 4)] == [1, 4, 4, 1]
    check(again)
    assert done(here, keep_failed=True).counts == table.counts and len(here.begun(3)) == 4


def check(table: SweepTable) -> None:
    frame = table.frame.set_index("a")
    assert list(frame["status"]) == ["done", "done", "failed", "done"] and list(frame["run"]) == [1, 2, 3, 4]
    assert list(frame["score"].dropna()) == [0.25, 0.5, 1.0] and frame["name_result"][4] == "run 4"
    assert frame["error"][3] == "ZeroDivisionError" and frame["cell"][3] == "1 / (a - 3)"
    assert (frame["seconds"] > 0).all() and (frame["memory_mb"].dropna() > 1).all()
    assert all((table.folder / "notebooks" / name).is_file() for name in frame["executed"])
    written = pd.read_csv(table.folder / "results.csv", keep_default_na=False)
    assert list(written["command"]) == list(frame["command"]) and list(written.columns) == list(table.frame.columns)
    content = json.loads((table.folder / "results.json").read_text())
    assert content["runs"][0]["result"] == {"score": 0.25, "name": "run 1", "none": None}
