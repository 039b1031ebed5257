"""`reidlab explore`: what it refuses, the copy of the notebook, and a real page that leaves nothing behind."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from reidlab import store
from reidlab.cli import explore as module
from reidlab.cli import main
from reidlab.cli.explore import parameters, write_copy
from reidlab.errors import UserError
from reidlab.paths import root
from reidlab.workbook import voila_server
from reidlab.workbook.cells import parameter_lines, read_notebook, tags_of

SOURCE = root() / "notebooks" / "21_explorer.ipynb"


def trained(**data: object) -> str:
    """Keep a training run with the run of its data, and return its name."""
    prepared = {"dataset": "pedestrians", "seed": 0, "split": "identity", "val_share": 0.2, "options": {}} | data
    store.stage("data", "pedestrians", params=prepared, make=lambda _: {"provides": ["d" * 64]})
    given = {"recipe": {"name": "demo", "epochs": 1}, "dataset": "pedestrians", "seed": 0}

    def make(folder: Path) -> dict[str, object]:
        (folder / "model").mkdir()
        return {}

    return store.stage("training", "mine", params=given, inputs=["d" * 64], make=make).path.name


def test_a_run_brings_the_data_that_it_was_trained_on() -> None:
    name = trained(seed=7, split="image", val_share=0.4)
    found = parameters(name, {})
    assert found == {
        "model": name, "dataset": "pedestrians", "seed": 7, "split": "image", "val_share": 0.4, "options": {},
    }  # fmt: skip
    assert parameters(name, {"seed": "3"})["seed"] == 3, "what is given wins"


@pytest.mark.parametrize(
    ("run", "given", "words"),
    [
        ("nothing-here", {}, "nothing-here"),
        ("", {"modle": "small"}, r"modle.*no such parameter.*model"),
        ("", {"dataset": "nowhere"}, "nowhere"),
        ("small", {"model": "small"}, "both name the model"),
        ("", {"metric": "manhattan"}, "cosine"),
    ],
)
def test_what_cannot_be_shown_is_refused(run: str, given: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parameters(run, given)


def test_a_run_of_another_stage_is_refused() -> None:
    trained()
    (data,) = store.list_runs("data")
    with pytest.raises(UserError, match=r"a run of data; name one of `reidlab runs list training`"):
        parameters(data.path.name, {})


def test_the_copy_says_its_parameters(tmp_path: Path) -> None:
    copy = read_notebook(write_copy(SOURCE, {"model": "small", "options": {"a": "'"}}, tmp_path))
    injected = [cell for cell in copy.cells if "injected-parameters" in tags_of(cell)]
    assert [cell.source for cell in injected] == ["# Parameters\nmodel = 'small'\noptions = {'a': \"'\"}"]
    at = copy.cells.index(injected[0])
    assert "parameters" in tags_of(copy.cells[at - 1]) and len(copy.cells) == len(read_notebook(SOURCE).cells) + 2
    assert {line.name: line.default for line in parameter_lines(copy)}["model"] == "", "the defaults stay"
    assert "injected" not in write_copy(SOURCE, {}, tmp_path).read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no training yet, one by recipe demo runs first"),
        ({"recipe": "osnet_x025_scratch"}, "one by recipe osnet_x025_scratch runs first"),
        ({"recipe": "x'; } body { display: none"}, "one by recipe of that file runs first"),
        ({"model": "small"}, "The data set and the model are being read"),
    ],
)
def test_the_page_says_what_it_waits_for(given: dict[str, str], words: str, tmp_path: Path) -> None:
    first = read_notebook(write_copy(SOURCE, given, tmp_path)).cells[0]
    assert first.cell_type == "markdown" and words in first.source
    rule = re.fullmatch(r"<style>#loading::after \{ content: '[^'{}<]*';[^'{}<]*\}</style>", first.source)
    assert rule, first.source


def test_without_voila_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["explore"]) == 2
    assert 'pip install "reidlab[explore]"' in capsys.readouterr().err


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((voila_server.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["explore", "--port", str(port), "--no-browser"]) == 2
        assert f"--port {port} cannot be used" in capsys.readouterr().err
        monkeypatch.setattr(module, "FIRST_PORT", port)
        assert module._port(voila_server.HOST, None) > port, "the next free one"
        monkeypatch.setattr(module, "PORTS", 1)
        with pytest.raises(UserError, match="None of the ports"):
            module._port(voila_server.HOST, None)


def test_the_token_is_on_no_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.webbrowser, "open", lambda address: opened.append(address))
    opened: list[str] = []
    command = voila_server.voila_command(tmp_path / "x.ipynb", 8866)
    assert voila_server.voila_environment("secret")["JUPYTER_TOKEN"] == "secret"
    assert not any("secret" in word for word in command) and "--Voila.ip=127.0.0.1" in command
    module._open("http://127.0.0.1:1/?token=secret&x=1", tmp_path)
    assert opened[0].startswith("file:") and "secret" not in opened[0]
    assert "token=secret&amp;x=1" in (tmp_path / "open.html").read_text()


@pytest.fixture
def explored(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command with its temporary files below tmp_path."""
    words = [sys.executable, "-m", "reidlab", "explore", "-p", "model", "small", "--no-browser"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    yield process
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.skipif(importlib.util.find_spec("voila") is None, reason="voila is missing (pip install reidlab[explore])")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_page_behind_a_token_until_it_is_stopped(
    tmp_path: Path, explored: subprocess.Popen[str], number: int
) -> None:
    """Killed outright, the command cannot stop its server, which then ends by itself."""
    assert explored.stdout is not None
    said = ""
    for line in explored.stdout:
        said += line
        if line.startswith("Ctrl-C"):
            break
    (address,) = re.findall(r"The explorers: (http://127\.0\.0\.1:\d+/\?token=\w+)\n", said)
    (server,) = psutil.Process(explored.pid).children()
    assert address.partition("token=")[2] not in " ".join(server.cmdline())
    with urllib.request.urlopen(address.partition("?")[0]) as page:
        assert "login" in page.url, "without the token"
    (copy,) = tmp_path.glob("reidlab-explore-*/21_explorer.ipynb")
    assert "model = 'small'" in copy.read_text()
    explored.send_signal(number)
    explored.wait(timeout=60)
    server.wait(timeout=60)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)
    if number == signal.SIGINT:
        assert explored.returncode == 0 and "The explorers are stopped." in explored.stdout.read()
        assert not list(tmp_path.glob("reidlab-explore-*")), "nothing is left"
