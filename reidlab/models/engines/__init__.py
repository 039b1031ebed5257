"""Engines: what computes a model's embeddings. torch is the reference; the others are prepared once for a model."""

from reidlab.models.engines.base import Job, Prepared, check_engine, missing_packages, of_model, prepare
from reidlab.models.engines.choice import Choice, choose, ready
from reidlab.registry import ENGINES

__all__ = [
    "ENGINES",
    "Choice",
    "Job",
    "Prepared",
    "check_engine",
    "choose",
    "missing_packages",
    "of_model",
    "prepare",
    "ready",
]
