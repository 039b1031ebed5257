"""Sweeps: many runs of notebooks from one file, spread over processes or machines, kept in one table.

Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlab.sweeps.chosen import sweep_for
    from reidlab.sweeps.effects import Effects, effects_of
    from reidlab.sweeps.files import Sweep, load_sweep
    from reidlab.sweeps.planning import Plan, Planned, plan_sweep
    from reidlab.sweeps.running import run_sweep
    from reidlab.sweeps.table import SweepTable, list_sweeps, read_sweep

_HOMES = {
    "Effects": "effects",
    "Plan": "planning",
    "Planned": "planning",
    "Sweep": "files",
    "SweepTable": "table",
    "effects_of": "effects",
    "list_sweeps": "table",
    "load_sweep": "files",
    "plan_sweep": "planning",
    "read_sweep": "table",
    "run_sweep": "running",
    "sweep_for": "chosen",
}

__all__ = [
    "Effects",
    "Plan",
    "Planned",
    "Sweep",
    "SweepTable",
    "effects_of",
    "list_sweeps",
    "load_sweep",
    "plan_sweep",
    "read_sweep",
    "run_sweep",
    "sweep_for",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
