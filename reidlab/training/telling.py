"""What a training shows while it runs: one bar over all epochs, and a line for each."""

from __future__ import annotations

import time
from collections.abc import Mapping

from reidlab.progress import bar, duration, say

__all__ = ["Telling", "epoch_line"]


class Telling:
    """A bar over all epochs (JupyterLab, terminal) and a line after each (terminal, `reidlab run`).

    Args:
        epochs: of the whole training.
        done: epochs that an earlier call has done.
        steps: batches of a usual epoch; others count as so many.
        show: False keeps silent.
    """

    def __init__(self, epochs: int, done: int, steps: int, *, show: bool) -> None:
        self.epochs, self.first, self.steps, self.show = epochs, done, steps, show
        self.bar = bar(
            total=epochs * steps, initial=done * steps, desc="training", unit="batches", disable=not show, every=60.0
        )
        self.began = time.monotonic()

    def step(self, epoch: int, step: int) -> None:
        """Move the bar after a batch; both count from 0."""
        if step == 0:
            self.bar.set_description(f"epoch {epoch + 1} / {self.epochs}")
        self.bar.update(max(0, min(epoch * self.steps + step + 1, (epoch + 1) * self.steps) - self.bar.n))

    def stats(self, figures: Mapping[str, str]) -> None:
        """Show figures beside the bar."""
        self.bar.set_postfix(figures)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Print the line of an epoch that is finished and saved."""
        done = int(row["epoch"])
        self.bar.update(max(0, done * self.steps - self.bar.n))
        if self.show:
            seconds = (time.monotonic() - self.began) / (done - self.first)
            say(epoch_line(row, self.epochs, seconds * (self.epochs - done)))

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def epoch_line(row: Mapping[str, float], epochs: int, left: float) -> str:
    """Write an epoch's line: number and total, loss, validation mAP where there was one, seconds that are left."""
    scored = f", validation mAP {100 * row['val_map']:.1f} %" if "val_map" in row else ""
    rest = f", {duration(left)} left" if row["epoch"] < epochs else ""
    return f"epoch {row['epoch']:.0f} / {epochs}: loss {row['loss']:.3f}{scored}{rest}"
