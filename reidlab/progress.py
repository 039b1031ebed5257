"""Progress where the user looks: a bar in JupyterLab and in a terminal, lines while `reidlab run` runs a notebook.

`reidlab run` names a file in `PROGRESS`. Whatever is appended to it is shown on the terminal at once, and the executed
notebook keeps no dead bars.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["BATCH", "PROGRESS", "bar", "duration", "say"]

BATCH = "REIDLAB_BATCH"  # set for kernels by `reidlab run`: nobody looks on, and nobody clicks
PROGRESS = "REIDLAB_PROGRESS"


def bar(
    items: Iterable[Any] | None = None,
    *,
    total: int,
    desc: str,
    unit: str,
    disable: bool = False,
    initial: int = 0,
    every: float = 10.0,
) -> Any:
    """Return tqdm's bar over `items`, which vanishes at its end; under `reidlab run` it prints a line now and then.

    Args:
        items: what is gone through; None for a bar that `update` moves.
        total: number of steps.
        desc: what is done, such as "decoding images".
        unit: of a step.
        disable: show nothing.
        initial: steps that were done before.
        every: seconds between two lines.
    """
    if os.environ.get(PROGRESS) and not disable:
        return _Lines(items or (), total, f"{desc}: {{:,}} / {{:,}} {unit}", initial, every)
    from tqdm.auto import tqdm

    return tqdm(
        items, total=total, desc=desc, unit=unit, disable=disable, leave=False, mininterval=0.5, initial=initial
    )


class _Lines:
    """What is used of tqdm's bar, said in lines; one that ends within seconds says nothing."""

    def __init__(self, items: Iterable[Any], total: int, text: str, initial: int, every: float) -> None:
        self.items, self.total, self.text, self.every = items, total, text, every
        self.n = self.initial = initial
        self.began = self.told = time.monotonic()

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            yield item
            self.update()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, steps: int = 1) -> None:
        self.n += steps
        now = time.monotonic()
        if now - self.told >= self.every and self.initial < self.n < self.total:
            self.told = now
            left = (now - self.began) / (self.n - self.initial) * (self.total - self.n)
            say(f"{self.text.format(self.n, self.total)}, {duration(left)} left")

    def set_description(self, *_: object) -> None:
        """Print nothing: the lines of an epoch tell more."""

    def set_postfix(self, *_: object) -> None:
        """Print nothing: the lines of an epoch tell more."""

    def close(self) -> None:
        """Print nothing: whatever runs next prints its own line."""


def say(line: str) -> None:
    """Show a line: on the terminal of `reidlab run`, or on stderr; in a notebook that is open in Lab nothing."""
    target = os.environ.get(PROGRESS)
    if target:
        try:
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        except OSError:  # the command that wanted it is gone
            return
    elif not _in_kernel():
        from tqdm.auto import tqdm

        tqdm.write(line, file=sys.stderr)


def _in_kernel() -> bool:
    """Return whether this process is a Jupyter kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def duration(seconds: float) -> str:
    """Return a duration in seconds as readable text: 40 s, 12 min, 2 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
