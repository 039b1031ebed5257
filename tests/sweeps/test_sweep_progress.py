"""What is shown of a sweep that goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from reidlab.progress import BATCH
from reidlab.sweeps import progress
from reidlab.sweeps.planning import Planned
from reidlab.sweeps.progress import State, Widget, view_of
from reidlab.sweeps.rows import Row


def run(number: int, name: str = "") -> Planned:
    return Planned(number, name or f"a={number}", Path("toy.ipynb"), {"a": number}, (), "d" * 64, "s")


def state() -> State:
    """Return ten runs: two found, one done in 20 s and one failed in 40 s, two that began 10 s before 100."""
    done = (run(3), Row("d", "done", 20.0, result={"score": 0.5}))
    failed = (run(4), Row("d", "failed", 40.0, error="ValueError", message="no\n<b>good</b>"))
    return State(10, 2, 2, ended=[done, failed], running={run(5): 90.0, run(6, "<i>"): 90.0}, began=0.0)


def test_counts_and_the_time_that_is_left() -> None:
    now = state()
    assert (now.done, now.failed) == (4, 1)
    # six are left at 30 s, of which two have gone on for 10 s, on two workers
    assert now.left(100.0) == (6 * 30 - 20) / 2
    assert now.line(100.0) == "4 of 10 runs, 2 running, 1 failed, 80 s left"
    assert State(3, 0, 1).left(1.0) is None and State(3, 0, 1).line(1.0) == "0 of 3 runs, 0 running"
    assert State(2, 2, 1).line(1.0) == "2 of 2 runs, 0 running"


def test_the_terminal_shows_bar_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    console = Console(file=io.StringIO(), width=80)
    console.print(progress._picture(state(), 100.0))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "4 of 10 runs" in text and "a=5  10 s" in text and "<i>  10 s" in text


def test_the_widget_escapes_what_users_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    widget, now = Widget(), state()
    widget.ended(now, *now.ended[-1])
    assert (widget.bar.value, widget.bar.max, widget.bar.bar_style) == (4, 10, "warning")
    assert "4 of 10 runs" in widget.text.value and "&lt;i&gt; (10 s)" in widget.text.value
    assert "&lt;b&gt;good" in widget.text.value and "<b>good" not in widget.text.value


def test_views_by_name(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    now = state()
    for kind in ("auto", "lines", "terminal", "widget"):
        with view_of(kind) as view:
            view.refresh(now)
            view.ended(now, *now.ended[0])
    assert capfd.readouterr().err.count("4/10 a=3: done in 20 s (score=0.5)") == 3
    monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"kernel": 1})())
    assert progress._suited() == "widget"
    monkeypatch.setenv(BATCH, "1")
    assert progress._suited() == "lines"


def test_lines_say_at_times_that_the_sweep_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now, view = state(), progress.Lines()
    for at, said in ((100.0, 1), (101.0, 0), (699.0, 0), (700.0, 1), (701.0, 0)):
        monkeypatch.setattr(progress.time, "monotonic", lambda at=at: at)
        view.refresh(now)
        assert capfd.readouterr().err.count("4 of 10 runs, 2 running, 1 failed") == said
