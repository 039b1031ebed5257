"""The commands of README.md, as they are written: each line of its shell blocks and its Python.

Searching, comparing and listing are run always, in seconds. Trainings, evaluations and the explorer take minutes and run
on request: `REIDLAB_README=1 pytest tests/cli/test_readme.py`. `make` lines are the reader's own (`make test` runs this).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from reidlab.paths import root
from reidlab.pedestrians import built_in

README = root() / "README.md"
MINUTES = ("reidlab run", "reidlab report", "reidlab explore")  # in the order of the README they need each other


def blocks(language: str) -> list[str]:
    """Return the code blocks of README.md in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def command(line: str) -> str:
    """Return a line without its comment."""
    return line.partition(" # ")[0].strip()


LINES = [line for block in blocks("sh") for line in block.splitlines()]
SHORT = [line for line in LINES if not line.startswith(("make ", "source ", *MINUTES))]
LONG = [line for line in LINES if line.startswith(MINUTES)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home and current folder with the files that the README speaks of, from the built-in data."""
    home = tmp_path_factory.mktemp("home")
    (home / "crops").mkdir()
    (home / "q").mkdir()
    images = sorted(built_in().rglob("*.jpg"))
    names = [re.match(r"(\d+)_c(\d+)", path.name) for path in images]
    people = {}
    for path, found in zip(images, names):
        if found and found[1] != "0000":
            people.setdefault(found[1], []).append((found[2], path))
    for pid, shots in list(people.items())[:12]:
        for at, (camera, path) in enumerate(shots[:6]):
            (home / "crops" / f"{pid}_{camera}_{at}.jpg").write_bytes(path.read_bytes())
    first, other = next(iter(people.values()))[:2]
    (home / "anna.jpg").write_bytes(first[1].read_bytes())
    (home / "anna_door.jpg").write_bytes(first[1].read_bytes())
    (home / "anna_hall.jpg").write_bytes(other[1].read_bytes())
    (home / "q" / "one.jpg").write_bytes(first[1].read_bytes())
    return home


def environment(home: Path) -> dict[str, str]:
    """Return what a shell with an activated environment has."""
    scripts = str(Path(sys.executable).parent)
    own = {"HOME": str(home), "REIDLAB_REPORTS": str(home / "reports"), "NO_COLOR": "1"}
    return {**os.environ, **own, "PATH": os.pathsep.join([scripts, os.environ["PATH"]])}


def run(line: str, home: Path) -> str:
    """Run a line of shell as it stands; return what it said."""
    done = subprocess.run(["bash", "-ec", line], cwd=home, env=environment(home), capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.stdout


def test_all_lines_are_known() -> None:
    assert len(SHORT) >= 6 and len(LONG) >= 6
    rest = [line for line in LINES if line not in SHORT + LONG]
    assert all(line.startswith(("make ", "source .venv/bin/activate")) for line in rest)


@pytest.mark.parametrize("line", SHORT, ids=command)
def test_a_line_of_seconds(line: str, place: Path) -> None:
    said = run(line, place)
    file = command(line).partition(" > ")[2]
    assert (place / file).stat().st_size if file else said.strip()


@pytest.mark.parametrize("code", blocks("python"))
def test_its_python(code: str, place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment(place), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "mAP" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif("REIDLAB_README" not in os.environ, reason="minutes: set REIDLAB_README=1")
def test_the_lines_of_minutes(place: Path) -> None:
    for line in LONG:
        began = time.monotonic()
        if line.startswith("reidlab explore"):
            explored(line, place)
        else:
            assert run(line, place).strip()
        print(f"{time.monotonic() - began:6.1f} s  {command(line)}", flush=True)


def explored(line: str, home: Path) -> None:
    """Start the explorer, open the address that it says, and stop it by Ctrl-C."""
    # no browser: the page is asked for by the address alone
    env = environment(home) | {"BROWSER": "true %s"}
    with subprocess.Popen(
        ["bash", "-c", f"exec {command(line)}"], cwd=home, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address, late = "", threading.Timer(300, process.kill)
        late.start()
        for said in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\S+", said):
                address = found[0]
                break
        late.cancel()
        try:
            assert address, "it said no address"
            with urllib.request.urlopen(address, timeout=300) as answer:
                page = answer.read().decode()  # it comes while the notebook runs
            assert "application/vnd.jupyter.widget-view+json" in page and "login" not in answer.url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
