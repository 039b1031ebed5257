"""Models: built by name or loaded, each giving embeddings in eval mode and an `Output` in training mode."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from reidlab.models.build import MODELS, build, count_macs, count_parameters, without_weights
from reidlab.models.output import Output

if TYPE_CHECKING:
    from reidlab.models.saved import load_model, save_model

__all__ = [
    "MODELS",
    "Output",
    "build",
    "count_macs",
    "count_parameters",
    "load_model",
    "save_model",
    "without_weights",
]


def __getattr__(name: str) -> object:
    if name not in ("load_model", "save_model"):  # which know the runs, as no network does
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("reidlab.models.saved"), name)
