"""What `reidlab run` says when it is stopped."""

from __future__ import annotations

from pathlib import Path

__all__ = ["stopped"]


def stopped(notebook: str, began: float) -> str:
    """Return the message on a notebook that Ctrl-C stopped: what is kept, and how to go on.

    Args:
        notebook: its name.
        began: when it began, in seconds since the epoch.
    """
    epochs = _kept_epochs(began)
    training = f" and the training's {epochs} finished epoch{'s' * (epochs > 1)}" if epochs else ""
    return f"{notebook}: stopped. Kept: every stage that was finished{training}. The same command continues from there."


def _kept_epochs(began: float) -> int:
    """Return how many epochs the training has kept that was going on; 0 where there is none."""
    from reidlab.store import runs_root

    found: list[tuple[float, int]] = []
    for folder in Path(runs_root()).glob("training/.work-*/checkpoints/epoch-*"):
        number = folder.name.partition("-")[2]
        try:
            changed = folder.stat().st_mtime
        except OSError:  # a training beside this one removes its older ones
            continue
        if number.isdigit() and changed >= began - 1:  # the clock of file systems is coarse
            found.append((changed, int(number)))
    return max(found, default=(0.0, 0))[1]
