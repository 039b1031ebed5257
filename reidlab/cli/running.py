"""What `reidlab run` shares out among several notebooks, and what it says when it is stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reidlab.errors import UserError, nearest, shown

__all__ = ["shares", "stopped"]


def shares(given: Mapping[str, Any], models: Sequence[Any]) -> list[dict[str, Any]]:
    """Return for each notebook's parameter model those of the given parameters that it knows.

    Raises:
        UserError: several notebooks, and a name that none of them knows. (A single one refuses its names itself.)
    """
    if len(models) == 1:
        return [dict(given)]
    known = list(dict.fromkeys(name for model in models for name in model.model_fields))
    strange = [name for name in given if name not in known]
    if strange:
        said = [f"{name}={shown(given[name])}: no such parameter.{nearest(name, known)}" for name in strange]
        which = ", ".join(dict.fromkeys(model.notebook for model in models))
        raise UserError("\n  ".join([f"None of {which} knows:", *said]))
    return [{name: value for name, value in given.items() if name in model.model_fields} for model in models]


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
