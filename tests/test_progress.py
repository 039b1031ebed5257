"""Bars and lines: which of them shows where."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from reidlab import progress

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `reidlab run` reads; a clock that goes 6 s at each look."""
    clock = itertools.count(0, 6)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setenv(progress.PROGRESS, str(tmp_path / "lines"))
    return tmp_path / "lines"


def said(file: Path) -> list[str]:
    return [line.partition(" ")[2] for line in file.read_text(encoding="utf-8").splitlines()]


def test_under_the_command_a_bar_says_a_line_now_and_then(lines: Path, capsys: Capture) -> None:
    assert list(progress.bar(iter(range(5)), total=5, desc="decoding", unit="img")) == [0, 1, 2, 3, 4]
    assert said(lines) == ["decoding: 2 / 5 img, 18 s left", "decoding: 4 / 5 img, 6 s left"]
    assert capsys.readouterr() == ("", "")


def test_steps_that_were_done_before_cost_no_time(lines: Path) -> None:
    with progress.bar(total=1000, desc="training", unit="batches", initial=990) as shown:
        shown.update(2)
        shown.update(3)
    assert said(lines) == ["training: 995 / 1,000 batches, 12 s left"]


def test_a_disabled_bar_is_silent(lines: Path, capsys: Capture) -> None:
    assert list(progress.bar(range(9), total=9, desc="x", unit="y", disable=True)) == list(range(9))
    assert not lines.exists() and capsys.readouterr() == ("", "")


def test_without_the_command_there_is_a_bar_and_lines_go_to_stderr(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(progress.PROGRESS, raising=False)
    assert list(progress.bar(range(3), total=3, desc="decoding", unit="img")) == [0, 1, 2]
    progress.say("a line")
    out, err = capsys.readouterr()
    assert out == "" and "decoding:   0%" in err and err.endswith("a line\n")


def test_a_command_that_is_gone_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.PROGRESS, str(tmp_path / "gone" / "lines"))
    progress.say("a line")
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text
