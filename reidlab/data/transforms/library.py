"""Torchvision, loaded when first needed: its import takes as long as torch's, and `Preprocess` does without it."""

from __future__ import annotations

from types import ModuleType

__all__ = ["functional", "torchvision_v2"]


def functional() -> ModuleType:
    """Return torchvision.transforms.v2.functional: kernels for images and batches."""
    import torchvision.transforms.v2.functional as loaded

    return loaded


def torchvision_v2() -> ModuleType:
    """Return torchvision.transforms.v2: random transforms, of which the tables of the policies are read."""
    import torchvision.transforms.v2 as loaded

    return loaded
