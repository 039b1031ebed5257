"""Features, weights and labels for the tests of classifiers, and the margins of arcface_adaptive, worked out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.models.parts.classifiers import build_classifier

X = torch.sin(torch.arange(1, 33, dtype=torch.float64)).reshape(8, 4)
W = torch.cos(torch.arange(1, 17, dtype=torch.float64)).reshape(4, 4)
Y = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
M = math.radians(28.6)
COUNTS = {"class_counts": [4, 16, 1, 100]}


def made(name: str, weight: Tensor = W, num_classes: int = 4, **options: Any) -> nn.Module:
    if name == "arcface_adaptive":
        options = COUNTS | options
    classifier = build_classifier(name, weight.shape[1], num_classes, **options).to(weight.dtype)
    classifier.weight.data.copy_(weight)  # type: ignore[union-attr, operator]
    if name == "arcface_adaptive":
        classifier.set_class_counts(options["class_counts"])  # type: ignore[operator]  # again, in the new type
    return classifier


def margins_of(counts: list[int], low: float = 0.05, high: float = 0.5) -> list[float]:
    rarity = [n**-0.5 for n in counts]
    return [low + (high - low) * (r - min(rarity)) / (max(rarity) - min(rarity)) for r in rarity]
