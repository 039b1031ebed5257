"""How far a sweep is: in a terminal, in lines where nobody looks at one, and as a widget in a notebook."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from reidlab.progress import BATCH, duration, say
from reidlab.sweeps.planning import Planned
from reidlab.sweeps.rows import Row

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["State", "View", "view_of"]

_SHOWN = 12  # running runs that are named
_EVERY = 0.5  # seconds between two pictures
_QUIET = 600.0  # seconds without a line after which one says that it goes on


@dataclass
class State:
    """What there is to tell.

    Attributes:
        total: runs of the sweep.
        found: of them, those that had ended before.
        workers: runs at the same time.
        ended: runs that ended now, in the order in which they did.
        running: begin of each run that goes on, by the clock of `time.monotonic`.
        began: of the sweep, by the same clock.
    """

    total: int
    found: int
    workers: int
    ended: list[tuple[Planned, Row]] = field(default_factory=list)
    running: dict[Planned, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Runs that have ended, before or now."""
        return self.found + len(self.ended)

    @property
    def failed(self) -> int:
        """Runs that ended now and failed."""
        return sum(not row.ok for _, row in self.ended)

    def left(self, now: float) -> float | None:
        """Estimate the seconds that are left from those that the ended runs took; None before the first has ended."""
        if not self.ended:
            return None
        mean = sum(row.seconds for _, row in self.ended) / len(self.ended)
        gone = sum(min(now - since, mean) for since in self.running.values())
        return max(0.0, mean * (self.total - self.done) - gone) / max(1, self.workers)

    def line(self, now: float) -> str:
        """Say all of it in one line."""
        left = self.left(now)
        told = [f"{self.done} of {self.total} runs", f"{len(self.running)} running"]
        told += [f"{self.failed} failed"] if self.failed else []
        told += [f"{duration(left)} left"] if left is not None and self.done < self.total else []
        return ", ".join(told)


class View(Protocol):
    """Where the state is shown."""

    def ended(self, state: State, run: Planned, row: Row) -> None:
        """Show that a run has ended."""

    def refresh(self, state: State) -> None:
        """Show the state; called several times a second."""


class Lines:
    """A line for each run that has ended; in an executed notebook they go to the terminal of `reidlab run`."""

    def __init__(self) -> None:
        self.said: float | None = None

    def ended(self, state: State, run: Planned, row: Row) -> None:
        """Print the line."""
        self.said = time.monotonic()
        say(f"{state.done}/{state.total} {_told(run, row)}")

    def refresh(self, state: State) -> None:
        """Print where the sweep stands at its beginning, and whenever ten minutes went by without a line."""
        now = time.monotonic()
        if self.said is None or now - self.said >= _QUIET:
            self.said = now
            say(state.line(now))


class Terminal:
    """A bar, and the runs that go on, below the lines of those that have ended."""

    def __init__(self, live: Any) -> None:
        self.live, self.drawn = live, 0.0

    def ended(self, state: State, run: Planned, row: Row) -> None:
        """Print the run's line above the bar."""
        from rich.text import Text

        self.live.console.print(Text(f"{state.done}/{state.total} {_told(run, row)}", style="" if row.ok else "red"))
        self.refresh(state)

    def refresh(self, state: State) -> None:
        """Draw the bar anew."""
        now = time.monotonic()
        if now - self.drawn >= _EVERY:
            self.drawn = now
            self.live.update(_picture(state, now), refresh=True)


class Widget:
    """The same as a widget."""

    def __init__(self) -> None:
        import ipywidgets
        from IPython.display import display

        self.bar = ipywidgets.IntProgress(min=0, max=1, layout={"width": "60%"})
        self.text, self.drawn = ipywidgets.HTML(), 0.0
        display(ipywidgets.VBox([self.bar, self.text]))

    def ended(self, state: State, run: Planned, row: Row) -> None:
        """Show the state at once."""
        self._show(state)

    def refresh(self, state: State) -> None:
        """Show the state twice a second."""
        if time.monotonic() - self.drawn >= _EVERY:
            self._show(state)

    def _show(self, state: State) -> None:
        now = self.drawn = time.monotonic()
        self.bar.max, self.bar.value = max(1, state.total), state.done
        self.bar.bar_style = "warning" if state.failed else "success" if state.done == state.total else ""
        running = [f"{escape(run.name)} ({duration(now - since)})" for run, since in _first(state.running)]
        failed = [f"<b>{escape(_told(run, row))}</b>" for run, row in state.ended if not row.ok][-_SHOWN:]
        self.text.value = "<br>".join([escape(state.line(now)), *running, *failed])


@contextmanager
def view_of(kind: str = "auto") -> Iterator[View]:
    """Give the view that suits where this runs.

    Args:
        kind: terminal, lines, widget, or auto: a widget in a notebook that somebody looks at, a terminal where stderr
            is one, else lines.
    """
    kind = kind if kind != "auto" else _suited()
    if kind == "widget":
        yield Widget()
    elif kind == "terminal":
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
            yield Terminal(live)
    else:
        yield Lines()


def _suited() -> str:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if hasattr(shell, "kernel"):
        return "lines" if os.environ.get(BATCH) else "widget"
    return "terminal" if sys.stderr.isatty() else "lines"


def _picture(state: State, now: float) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    rows: list[RenderableType] = [ProgressBar(total=max(1, state.total), completed=state.done, width=60)]
    rows.append(Text(state.line(now)))
    rows += [Text(f"  {run.name}  {duration(now - since)}", style="dim") for run, since in _first(state.running)]
    return Group(*rows)


def _first(running: Mapping[Planned, float]) -> list[tuple[Planned, float]]:
    return list(running.items())[:_SHOWN]


def _told(run: Planned, row: Row) -> str:
    """Say how a run ended: its key figures, or its failure."""
    from reidlab.workbook.result import show

    took = f"{row.status} in {duration(row.seconds)}"
    if row.ok:
        figures = ", ".join(f"{name}={show(value)}" for name, value in list(row.result.items())[:4])
        return f"{run.name}: {took}{f' ({figures})' if figures else ''}"
    return f"{run.name}: {row.status} after {duration(row.seconds)}: {row.error}: {' '.join(row.message.split())[:200]}"
