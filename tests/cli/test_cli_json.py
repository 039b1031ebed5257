"""--json of what is not a list, and that every command that answers has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from reidlab import store
from reidlab.cli import app, main
from reidlab.workbook import runner

Capture = pytest.CaptureFixture[str]
# they serve until they are stopped
SERVERS = {"explore", "dashboards"}


def commands(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def said(capsys: Capture) -> object:
    return json.loads(capsys.readouterr().out)


def test_every_command_that_answers_has_json() -> None:
    group = typer.main.get_command(app)
    without = {name for name, command in commands(group) if "--json" not in [o for p in command.params for o in p.opts]}
    assert without == SERVERS


def test_what_became_of_notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def pretend(notebook: Path, params: object, **_: object) -> runner.Outcome:
        failure = runner.Failure("ValueError", "broken", "x = 1")
        return runner.Outcome(notebook, tmp_path / "not there.ipynb", "failed", 1.5, failure, 81.5)

    monkeypatch.setattr(runner, "run_notebook", pretend)
    assert main(["run", "1", "2", "--keep-going", "--json"]) == 1
    first, second = said(capsys)  # type: ignore[misc]
    assert first == {
        "notebook": "01_data_prep", "output": None, "status": "failed", "seconds": 1.5, "memory_mb": 81.5, "result": {},
        "failure": {"error": "ValueError", "message": "broken", "cell": "x = 1", "traceback": ""},
    }  # fmt: skip
    assert second["notebook"] == "02_triplet_generation"


def test_runs_that_are_removed(capsys: Capture) -> None:
    run = store.stage("toy", "one", params={"a": 1}, make=lambda folder: {})
    left = store.runs_root() / "toy" / ".work-0123"
    left.mkdir()
    (left / "file").write_text("x")
    assert main(["runs", "gc", "--dry-run", "--json"]) == 0
    (gone,) = said(capsys)  # type: ignore[misc]
    assert gone["path"] == "toy/.work-0123" and gone["megabytes"] >= 0 and gone["reason"]
    assert main(["runs", "rm", run.path.name, "--json"]) == 0
    assert said(capsys) == [f"toy/{run.path.name}"] and not run.path.exists()


def test_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    built = SimpleNamespace(index=tmp_path / "index.html", written=2, skipped=["bad.ipynb: left out"])
    monkeypatch.setattr("reidlab.workbook.report.find_executed", lambda names: [])
    monkeypatch.setattr("reidlab.workbook.report.write_pages", lambda found, code: built)
    assert main(["report", "--json"]) == 0
    assert said(capsys) == {"index": str(built.index), "pages": 2, "skipped": built.skipped}


def test_status_without_anything(capsys: Capture) -> None:
    assert main(["status", "--json"]) == 0 and said(capsys) == {"trainings": [], "sweeps": []}
    assert main(["status"]) == 0 and capsys.readouterr().out == "Trainings that are not done: none\n"
