"""Training: recipes and `fit`, which is resumable to the bit on one machine. torch is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from reidlab.training.recipes import Recipe, list_recipes, load_recipe

if TYPE_CHECKING:
    from reidlab.training.fitting import fit
    from reidlab.training.run import TrainingRun

_HOMES = {"TrainingRun": "run", "fit": "fitting"}

__all__ = ["Recipe", "TrainingRun", "fit", "list_recipes", "load_recipe"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
