"""Engines: what computes a model's embeddings. torch is the reference; the others are prepared once for a model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from reidlab.registry import ENGINES

if TYPE_CHECKING:
    from reidlab.models.engines.base import Job, Prepared, check_engine, missing_packages, prepare
    from reidlab.models.engines.choice import Choice, choose

_HOMES = {
    "Choice": "choice",
    "Job": "base",
    "Prepared": "base",
    "check_engine": "base",
    "choose": "choice",
    "missing_packages": "base",
    "prepare": "base",
}

__all__ = ["ENGINES", "Choice", "Job", "Prepared", "check_engine", "choose", "missing_packages", "prepare"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
