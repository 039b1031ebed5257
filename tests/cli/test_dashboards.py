"""Dashboards: started on free ports, and nothing of them is left, however they end. Real ones where they are installed."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from reidlab.cli import dashboards, main
from reidlab.cli.dashboards import Dashboard, find_dashboards, serve
from reidlab.errors import UserError

# Serves one page and keeps a worker, as MLflow does; argv: port, file for the worker's process id, how it ends.
FAKE = """
import http.server, signal, subprocess, sys, time
port, mark, manner = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
open(mark, "w").write(f"{worker.pid}")
if manner == "broken":
    print("the data base is of another version")
    sys.exit(3)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page of " + mark.encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", port), Page).serve_forever()
"""

HOST = """
import sys
from pathlib import Path
from reidlab.cli import serving
sys.path.insert(0, {tests!r})
from test_dashboards import fake
serving._GRACE = 1.0
pages = [fake("One", Path({folder!r}) / "one", {first!r}), fake("Two", Path({folder!r}) / "two", {second!r})]
sys.exit(serving.serve(pages, say=lambda text: print(text, flush=True)))
"""


def fake(title: str, mark: Path, manner: str = "plain") -> Dashboard:
    return Dashboard(title, lambda _host, port: [sys.executable, "-S", "-c", FAKE, str(port), str(mark), manner])


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(check: Callable[[], object], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.05)
    return False


def workers_in(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in (folder / "one", folder / "two") if path.exists() and path.read_text()]


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run `serve` on two fakes in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def run(first: str = "plain", second: str = "plain") -> subprocess.Popen[str]:
        code = HOST.format(tests=str(Path(__file__).parent), folder=str(tmp_path), first=first, second=second)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


def addresses(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read until both addresses are said."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        match = re.fullmatch(r"(One|Two): (http://127\.0\.0\.1:\d+)\n", line)
        if match:
            found[match[1]] = match[2]
        if line.startswith("Ctrl-C"):
            assert line == "Ctrl-C stops both.\n"
            return found
    raise AssertionError("ended without an address")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_both_with_all_that_they_started(tmp_path: Path, start: Start, number: int) -> None:
    process = start(second="stubborn" if number == signal.SIGTERM else "plain")
    found = addresses(process)
    assert found["One"] != found["Two"]
    for title, name in (("One", "one"), ("Two", "two")):
        with urllib.request.urlopen(found[title]) as page:
            assert page.read() == f"page of {tmp_path / name}".encode()
    workers = workers_in(tmp_path)
    assert len(workers) == 2 and all(map(alive, workers))
    process.send_signal(number)
    assert process.wait(timeout=60) == 0
    assert eventually(lambda: not any(map(alive, workers))), "a worker was left behind"
    for address in found.values():
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(address)


def test_when_one_ends_the_other_is_stopped_and_its_last_words_are_said(tmp_path: Path, start: Start) -> None:
    process = start(second="broken")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Two ended by itself (exit code 3):\n    the data base is of another version" in said
    workers = workers_in(tmp_path)
    assert workers and eventually(lambda: not any(map(alive, workers)))


def test_killed_from_outside_the_other_is_stopped(tmp_path: Path, start: Start) -> None:
    process = start()
    addresses(process)
    workers = workers_in(tmp_path)
    psutil.Process(workers[0]).parent().kill()  # type: ignore[union-attr]
    assert process.wait(timeout=60) == 1
    assert eventually(lambda: not any(map(alive, workers)))


def test_what_cannot_be_started_is_named_and_what_was_is_stopped(tmp_path: Path) -> None:
    missing = Dashboard("Two", lambda *_: [str(tmp_path / "nowhere")])
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(UserError, match=r"Two could not be started .*nowhere"):
        serve([fake("One", tmp_path / "one"), missing], say=lambda _: None)
    assert all(not alive(pid) for pid in workers_in(tmp_path))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REIDLAB_REPORTS", str(tmp_path / "reports"))
    return tmp_path / "reports"


def test_the_command_of_tensorboard(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    (page,) = find_dashboards(["tensorboard"])
    words = page.command("127.0.0.1", 4321)
    assert words[:3] == [sys.executable, "-m", "tensorboard.main"] and words[-4:] == [
        "--host",
        "127.0.0.1",
        "--port",
        "4321",
    ]
    assert words[words.index("--logdir") + 1] == str(reports / "tensorboard") and (reports / "tensorboard").is_dir()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"TensorBoard is not installed: pip install tensorboard .*dashboards mlflow"):
        find_dashboards()


@pytest.mark.parametrize(
    ("versions", "begin"),
    [
        ({"mlflow": "3.9", "mlflow-skinny": "3.9"}, [sys.executable, "-m", "mlflow", "server"]),
        ({"mlflow-skinny": "3.9"}, ["--from", "mlflow==3.9", "mlflow", "server"]),
        ({}, ["--from", "mlflow", "mlflow", "server"]),
    ],
)
def test_the_command_of_mlflow(
    reports: Path, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], begin: list[str]
) -> None:
    monkeypatch.setattr(dashboards, "_version", versions.get)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/bin/{name}")
    (page,) = find_dashboards(["mlflow"])
    words = page.command("127.0.0.1", 4321)
    at = words.index(begin[0])
    assert words[at : at + len(begin)] == begin and words[-4:] == ["--host", "127.0.0.1", "--port", "4321"]
    assert words[words.index("--backend-store-uri") + 1] == f"sqlite:///{(reports / 'mlflow.db').as_posix()}"
    assert at == 0 or words[:3] == ["/bin/uv", "tool", "run"]


def test_without_mlflow_and_without_uv(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards, "_version", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(UserError, match=r"need the package mlflow: pip install uv.*dashboards tensorboard"):
        find_dashboards(["mlflow"])


def test_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["dashboards", "tensorbord"]) == 2
    assert "dashboard 'tensorbord' is unknown; choose from tensorboard, mlflow. Did you mean 'tensorboard'?" in (
        capsys.readouterr().err
    )
    asked: list[list[str]] = []
    monkeypatch.setattr(dashboards, "find_dashboards", lambda names: asked.append(list(names)))
    monkeypatch.setattr(dashboards, "serve", lambda pages, say: say("shown") or 1)
    assert main(["dashboards"]) == 1 and main(["dashboards", "mlflow"]) == 1
    assert asked == [[], ["mlflow"]] and capsys.readouterr().out == "shown\nshown\n"


def real(name: str, title: str, environment: dict[str, str]) -> None:
    code = "import sys; from reidlab.cli import main; sys.exit(main(['dashboards', sys.argv[1]]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, name], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        match = re.search(rf"{title}: (http://\S+)", "".join(said))
        assert match, "".join(said)
        with urllib.request.urlopen(match[1]) as page:
            assert page.status == 200 and title.lower() in page.read().decode().lower()
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_tensorboard_for_real(reports: Path) -> None:
    pytest.importorskip("tensorboard")
    real("tensorboard", "TensorBoard", {"REIDLAB_REPORTS": str(reports)})


@pytest.mark.slow
def test_mlflow_for_real(reports: Path) -> None:
    if dashboards._version("mlflow") is None:
        pytest.skip("the whole package mlflow is not installed here (its pages run in an environment of uv's)")
    real("mlflow", "MLflow", {"REIDLAB_REPORTS": str(reports)})
