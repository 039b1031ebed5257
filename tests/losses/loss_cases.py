"""Data for the tests of losses: the golden inputs, batches with everything odd in them, pairs by loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reidlab.losses import build, takes_of


def _steps(count: int, scale: float = 1.0) -> Tensor:
    return scale * torch.arange(1, count + 1, dtype=torch.float64)


X = torch.sin(_steps(32)).reshape(8, 4)  # features
Y = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
W = torch.cos(_steps(16)).reshape(4, 4)  # class weights or centres
Z = 2 * torch.cos(_steps(32, 0.7)).reshape(8, 4)  # logits
TEACHER = 2 * torch.sin(_steps(32, 0.7)).reshape(8, 4)


def golden(loss: nn.Module, value: float, *given: Tensor) -> None:
    """Compare with a value of the golden table: eight decimals, 1e-6 of it."""
    assert loss(*given).item() == pytest.approx(value, rel=1e-6)


def odd_batch(seed: int, dim: int = 3) -> tuple[np.ndarray, list[int]]:
    """Two to nine points: identities with one image, without company, and rows that nobody knows."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 10))
    return rng.normal(size=(count, dim)), rng.integers(-1, 4, count).tolist()


def positives(labels: list[int], i: int) -> list[int]:
    return [j for j, label in enumerate(labels) if label == labels[i] and j != i and label >= 0]


def negatives(labels: list[int], i: int) -> list[int]:
    return [j for j, label in enumerate(labels) if label != labels[i] and label >= 0 and labels[i] >= 0]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))


def unit(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def log_sum_exp(values: list[float]) -> float:
    return max(values) + math.log(sum(math.exp(v - max(values)) for v in values))


def mean(values: list[float]) -> float:
    """0 where there are none, as the losses report."""
    return sum(values) / len(values) if values else 0.0


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def pair_means(points: np.ndarray, labels: list[int]) -> dict[str, float]:
    """d_ap and d_an of all pairs."""
    rows = range(len(labels))
    return {
        "d_ap": mean([math.dist(points[i], points[j]) for i in rows for j in positives(labels, i)]),
        "d_an": mean([math.dist(points[i], points[j]) for i in rows for j in negatives(labels, i)]),
    }


def check(loss: nn.Module, points: np.ndarray, labels: list[int], value: float, **stats: float) -> None:
    """Compare value and stats of a batch, and look for NaN in the gradient."""
    features = torch.from_numpy(points).requires_grad_()
    found = loss(features, torch.tensor(labels))
    assert found.item() == pytest.approx(value, rel=1e-9, abs=1e-9)
    for name, expected in stats.items():
        assert loss.stats[name].item() == pytest.approx(expected, rel=1e-6, abs=1e-9), name  # type: ignore[index]
    found.backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()


def made(name: str, dim: int = 6, **options: Any) -> nn.Module:
    """Build a registered loss with what it needs for `dim` features and classes."""
    needed = {
        "center": {"num_classes": dim, "dim": dim},
        "feature_kd": {"dim": dim, "teacher_dim": dim},
        "cross_orthogonality": {"channels": dim // 2},
    }.get(name, {})
    return build(name, **needed, **options)


def inputs(name: str, features: Tensor, labels: Tensor, teacher: Tensor | None = None) -> tuple[Tensor, ...]:
    """Make what a registered loss takes of square features [batch, dim]: `features` comes first and learns."""
    teacher = features.detach().flip(1) * 0.7 if teacher is None else teacher
    if takes_of(name)[0] == "gates":
        return (features.softmax(1) if features.is_floating_point() else features, labels)
    if takes_of(name)[0] == "pair logits":
        return (features @ features.T, labels)
    kinds: dict[str, tuple[Tensor, ...]] = {
        "anchors": (features, features + 1, features - 1, labels, labels.flip(0)),
        "student logits": (features, teacher),
        "student features": (features, teacher),
        "reconstruction": (features, teacher),
        "means": (features, teacher),
    }
    given = kinds.get(takes_of(name)[0], (features, labels))
    return (*given, labels) if name == "kd" else given
