"""Kill a sweep of 16 short runs at random moments - a worker, the scheduler, everything - and resume it each time.

    .venv/bin/python benchmarks/sweep_kills.py --kills 10 --seed 0

Says what was killed and when, and exits with 1 if a process is left behind, a finished run is run again, or the table
differs in anything but times and memory from that of a sweep that nobody disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import yaml
from nbformat.v4 import new_code_cell, new_notebook

RUNS = 16
MEASURED = ["seconds", "memory_mb", "began", "commit"]
KINDS = ("worker", "scheduler", "everything")


def prepare(folder: Path) -> Path:
    """Write a notebook of half a second, in which every fifth run fails, and the sweep of it."""
    parameters = "a: int = 1  # which\nseed: int = 0  # seed"
    cells = [
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell(
            "import random, time\nfrom pathlib import Path\nfrom reidlab.workbook import Result\ntime.sleep(0.5)"
        ),
        new_code_cell("draws = random.Random(1000 * a + seed)\n1 / (a % 5)"),
        new_code_cell("Result({'score': draws.random(), 'loss': draws.gauss(0, 1)})"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = folder / "short.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), notebook)
    return notebook


def start(folder: Path, notebook: Path, name: str) -> subprocess.Popen[bytes]:
    """Start or resume the sweep of a name, with runs and reports of its own."""
    file = folder / f"{name}.yaml"
    content = {"notebooks": str(notebook), "grid": {"a": list(range(1, RUNS // 2 + 1))}, "seeds": 2, "workers": 2}
    file.write_text(yaml.safe_dump(content))
    env = {**os.environ, "REIDLAB_REPORTS": str(folder / f"reports-{name}")}
    log = (folder / f"{name}.log").open("ab")
    words = [sys.executable, "-m", "reidlab", "sweep", str(file), "--keep-failed"]
    return subprocess.Popen(words, stdout=log, stderr=log, env=env, start_new_session=True)


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return a command and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return []


def kill(kind: str, command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Kill a worker, the command (which is the scheduler), or all; return everything that was there."""
    members = family(command)
    victims = members[:1] if kind == "scheduler" else members
    if kind == "worker":
        victims = [member for member in members if "spawn_main" in _words(member)][:1]
    for member in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    return members


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def left_behind(members: list[psutil.Process]) -> list[psutil.Process]:
    """Return those processes of a killed command that still run half a minute later."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        running = [m for m in members if m.is_running() and m.status() != psutil.STATUS_ZOMBIE]
        if not running:
            return []
        time.sleep(0.2)
    return running


def rows(folder: Path, name: str) -> dict[str, int]:
    """Return the rows that are kept, and when each was written."""
    return {file.name: file.stat().st_mtime_ns for file in (folder / f"reports-{name}").glob("sweeps/*/rows/*.json")}


def table(folder: Path, name: str) -> pd.DataFrame:
    """Return the table of a sweep without what is measured."""
    (file,) = (folder / f"reports-{name}").glob("sweeps/*/results.csv")
    frame = pd.read_csv(file, keep_default_na=False)
    return frame.drop(columns=MEASURED)


def campaign(folder: Path, kills: int, draws: random.Random) -> list[str]:
    """Run a sweep undisturbed and one that is killed; return what is wrong."""
    notebook, wrong = prepare(folder), []
    began = time.monotonic()
    start(folder, notebook, "calm").wait()
    calm = time.monotonic() - began
    print(f"undisturbed: {calm:.0f} s for {RUNS} runs", flush=True)
    command, done, counted = start(folder, notebook, "killed"), 0, Counter[str]()
    kept: dict[str, int] = {}
    while done < kills:
        # a moment of the whole sweep, in the middle of whatever goes on then
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(draws.uniform(0.0, calm / 3))
            if len(rows(folder, "killed")) >= RUNS and command.returncode in (0, 1):
                print("the sweep came to its end before the next kill: it begins anew", flush=True)
                wrong += compare(folder, kept)
                shutil.rmtree(folder / "reports-killed")
                kept = {}
            command = start(folder, notebook, "killed")
            continue
        kind = KINDS[done % len(KINDS)] if done < len(KINDS) else draws.choice(KINDS)
        kept |= rows(folder, "killed")
        members, done = kill(kind, command), done + 1
        counted[kind] += 1
        print(f"kill {done}: {kind}, with {len(kept)} of {RUNS} rows kept", flush=True)
        if kind != "worker":
            command.wait()
            wrong += [f"left behind after kill {done} ({kind}): {_words(each)}" for each in left_behind(members)]
            command = start(folder, notebook, "killed")
    command.wait()
    print(f"killed: {', '.join(f'{count} x {kind}' for kind, count in counted.items())}", flush=True)
    return wrong + compare(folder, kept)


def compare(folder: Path, kept: dict[str, int]) -> list[str]:
    """Return how the disturbed sweep differs from the other, and which kept rows were written again."""
    calm, killed = table(folder, "calm"), table(folder, "killed")
    wrong = [] if calm.equals(killed) else [f"the tables differ:\n{calm}\n{killed}"]
    now = rows(folder, "killed")
    wrong += [f"run again though it was kept: {name}" for name, written in kept.items() if now.get(name) != written]
    print(f"table: {killed['status'].value_counts().to_dict()}, {len(wrong)} complaints", flush=True)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept afterwards; default: a temporary one")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sweep-kills-")))
        folder.mkdir(parents=True, exist_ok=True)
        wrong = campaign(folder, given.kills, random.Random(given.seed))
    print("\n".join(wrong) or "nothing is wrong")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
