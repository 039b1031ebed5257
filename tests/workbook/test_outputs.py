"""Executed notebooks: broken ones lock nobody out, they are written beside and renamed, a full disk is explained."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from reidlab import cli
from reidlab.errors import UserError
from reidlab.workbook import files, outputs, runner
from reidlab.workbook.outputs import executed_root, make_way, publish
from reidlab.workbook.report import build_report, find_executed, html_root, write_pages
from reidlab.workbook.runner import run_notebook

Make = Callable[..., Path]
BROKEN = {"empty": b"", "truncated": b'{"cells": [{"cell_', "junk": b"\xff\x00", "no_source": b"", "other": b""}
BROKEN["no_source"] = json.dumps(
    {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "id": "a", "metadata": {}}]}
).encode()
BROKEN["other"] = b"[1, 2]"


def execute(name: str, text: str = "# Title", **metadata: Any) -> Path:
    path = executed_root() / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell(text)], metadata={"papermill": {}, **metadata}), path)
    return path


def broken(name: str, content: bytes) -> Path:
    path = execute(name)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_output_is_replaced(kind: str) -> None:
    target = broken("03_x", BROKEN[kind])
    beside = make_way(target)
    assert not target.exists() and beside.parent == target.parent and beside.name == f".03_x.{os.getpid()}.ipynb"


@pytest.mark.parametrize("kind", BROKEN)
def test_elsewhere_only_what_is_empty_is_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "mine.ipynb"
    target.write_bytes(BROKEN[kind])
    if kind == "empty":
        make_way(target)
        return
    with pytest.raises(UserError, match=r"mine\.ipynb is not an executed notebook and would be overwritten"):
        make_way(target)
    assert target.read_bytes() == BROKEN[kind]


def test_outputs_get_their_name_when_they_are_whole() -> None:
    target = execute("03_x")
    beside = make_way(target)
    publish(beside, target)
    assert not target.exists(), "a run that wrote nothing leaves nothing"
    beside.write_bytes(BROKEN["truncated"])
    publish(beside, target)
    assert not target.exists() and not beside.exists(), "half an output is none"
    nbformat.write(new_notebook(), beside)
    publish(beside, target)
    assert target.is_file() and not beside.exists()


def test_what_killed_runs_left_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    target = execute("03_x")
    names = (".03_x.11.ipynb", ".03_x.12.ipynb", ".03_x.y.ipynb", ".04_x.11.ipynb")
    for name in names:
        (target.parent / name).touch()
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid == 12)
    make_way(target)
    assert sorted(path.name for path in target.parent.iterdir()) == sorted(names[1:])


def test_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "x")

    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(UserError, match=r"cannot be written: .*Permission denied.*REIDLAB_REPORTS.*--output"):
        make_way(tmp_path / "a.ipynb")


@pytest.mark.notebook
def test_a_run_replaces_a_broken_output_and_shows_no_half_one(make_notebook: Make) -> None:
    path = make_notebook(
        "toy", "import glob\nprint(sorted(glob.glob('../reports/executed/*.ipynb')))", parameters="n: int = 1"
    )
    broken("toy", BROKEN["truncated"])
    outcome = run_notebook(path, {"n": 2})
    assert outcome.ok and outcome.output == executed_root() / "toy.ipynb"
    made = files.read_notebook(outcome.output)
    assert made.cells[-1].outputs[0].text == "[]\n", "no output has its name before its run has ended"
    assert made.metadata.papermill.output_path == "../reports/executed/toy.ipynb"
    assert [found.name for found in executed_root().iterdir()] == ["toy.ipynb"]


@pytest.mark.notebook
def test_a_run_that_cannot_be_signed_says_why_and_keeps_its_output(
    make_notebook: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise UserError(f"{path} cannot be written: No space left on device.")

    monkeypatch.setattr(runner, "write_whole", full)
    with pytest.raises(UserError, match="No space left"):
        run_notebook(make_notebook("toy", "1"))
    assert files.read_notebook(executed_root() / "toy.ipynb").cells


@pytest.mark.notebook
def test_no_space_in_a_cell_is_told_with_its_remedy(make_notebook: Make, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_notebook("toy", "raise OSError(28, 'No space left on device', 'file')")
    assert cli.main(["run", str(path)]) == 1
    told = capsys.readouterr().err
    assert "OSError: [Errno 28] No space left on device" in told and "runs gc" in told and "data/cache" in told


def test_no_space_for_pages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    execute("03_x")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert cli.main(["report"]) in (1, 2)
    told = capsys.readouterr().err
    assert "No space left on device" in told and "runs gc" in told and "data/cache" in told and "Traceback" not in told


def test_a_reports_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execute("03_x")
    html_root().touch()  # a file where the folder belongs
    assert cli.main(["report"]) == 2
    told = capsys.readouterr().err
    assert "cannot be written" in told and "html" in told and "Traceback" not in told


@pytest.mark.parametrize("kind", BROKEN)
def test_report_leaves_a_broken_one_out(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute("03_x")
    broken("04_x", BROKEN[kind])
    assert cli.main(["report"]) == 0
    said = capsys.readouterr()
    assert "04_x.ipynb is left out: 04_x.ipynb cannot be read" in said.err and said.out.startswith(
        "1 page and the index"
    )
    front = (html_root() / "index.html").read_text()
    assert "03_x.html" in front and "04_x.html" not in front


def test_report_of_broken_ones_alone(capsys: pytest.CaptureFixture[str]) -> None:
    broken("04_x", b"")
    broken("05_x", b"")
    with pytest.raises(UserError, match=r"(?s)04_x\.ipynb is left out.*05_x\.ipynb is left out.*reidlab run"):
        build_report()
    execute("03_x")
    built = write_pages(find_executed(["4", "3"]))
    assert built.written == 1 and len(built.skipped) == 1
    build_report()
    assert "05_x.ipynb is left out" in capsys.readouterr().err


def test_runs_that_go_on_are_not_reported() -> None:
    execute("03_x")
    execute(".04_x.123")
    assert [path.stem for path in find_executed()] == ["03_x"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"reidlab": 3},
        {"reidlab": {"status": 3, "seconds": "x", "date": 4, "failure": "f", "git": [], "versions": 1, "machine": "m"}},
        {"reidlab": {"parameters": [1], "changed": 2, "failure": {"odd": 1}, "versions": {"a": [1]}}},
        {"reidlab": {"seconds": float("inf"), "parameters": {"a": ["x" * 10_000], "b": None}}},
        {"papermill": {"duration": "x", "parameters": "y", "start_time": 5, "exception": "maybe"}},
        {"papermill": None, "widgets": 3},
    ],
)
def test_odd_metadata(metadata: dict[str, Any]) -> None:
    execute("03_x", **metadata)
    build_report()
    assert "Title" in (html_root() / "03_x.html").read_text()


@pytest.mark.parametrize("which", ["9" * 5000, "\x00.ipynb", "a" * 5000 + ".ipynb", "", "*"])
def test_odd_names_of_executed_notebooks(which: str) -> None:
    execute("03_x")
    with pytest.raises(UserError, match="No executed notebook"):
        find_executed([which])


def test_the_folder_of_executed_notebooks_moves_with_the_reports(tmp_path: Path) -> None:
    assert outputs.executed_root() == runner.executed_root() == tmp_path / "reports" / "executed"
