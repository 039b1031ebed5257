"""Views to click through, in JupyterLab and Voila: each has a static twin. Nothing is imported until asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlab.explorers.attention import AttentionExplorer
    from reidlab.explorers.comparer import RunComparer
    from reidlab.explorers.dataset import DatasetExplorer
    from reidlab.explorers.embedding import EmbeddingExplorer
    from reidlab.explorers.retrieval import RetrievalExplorer
    from reidlab.explorers.training import TrainingExplorer
    from reidlab.explorers.triplets import TripletExplorer

_HOMES = {
    "AttentionExplorer": "attention",
    "DatasetExplorer": "dataset",
    "EmbeddingExplorer": "embedding",
    "RetrievalExplorer": "retrieval",
    "RunComparer": "comparer",
    "TrainingExplorer": "training",
    "TripletExplorer": "triplets",
}

__all__ = [
    "AttentionExplorer",
    "DatasetExplorer",
    "EmbeddingExplorer",
    "RetrievalExplorer",
    "RunComparer",
    "TrainingExplorer",
    "TripletExplorer",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
