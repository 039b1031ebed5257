"""What a training began and learnt from, as its run says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["training_origins"]


def training_origins(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a training used besides its data, as its run's result records it: initial weights and teachers."""
    told = {
        "weights": "The training began from pretrained weights:",
        "start": "The training began from",
        "teachers": "It learnt from teachers too:",
    }
    return tuple(f"{words} {facts[name]}." for name, words in told.items() if facts.get(name))
