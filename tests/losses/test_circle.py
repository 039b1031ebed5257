"""Pair circle loss: golden values, plain loops, and the gradient with weights held still."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_cases import (
    X,
    Y,
    check,
    cosine,
    golden,
    log_sum_exp,
    mean,
    negatives,
    odd_batch,
    pair_means,
    positives,
    sigmoid,
    softplus,
    unit,
)
from torch import Tensor

from reidlab.losses import CircleLoss


@pytest.mark.parametrize("margin, value", [(0.25, 421.59638666), (0.3, 414.55638666)])
def test_golden(margin: float, value: float) -> None:
    golden(CircleLoss(margin, 128), value, X, Y)


def logits(points: np.ndarray, labels: list[int], margin: float, gamma: float) -> list[float]:
    found = []
    for i in range(len(labels)):
        s_p = [cosine(points[i], points[j]) for j in positives(labels, i)]
        s_n = [cosine(points[i], points[j]) for j in negatives(labels, i)]
        if s_p and s_n:
            pull = log_sum_exp([-gamma * max(0.0, 1 + margin - s) * (s - 1 + margin) for s in s_p])
            found.append(pull + log_sum_exp([gamma * max(0.0, s + margin) * (s - margin) for s in s_n]))
    return found


@pytest.mark.parametrize("margin, gamma", [(0.25, 128.0), (0.4, 3.0)])
@pytest.mark.parametrize("seed", range(8))
def test_against_loops(seed: int, margin: float, gamma: float) -> None:
    points, labels = odd_batch(seed)
    found = logits(points, labels, margin, gamma)
    stats = pair_means(unit(points), labels) | {"active_share": mean([float(sigmoid(z) > 0.01) for z in found])}
    check(CircleLoss(margin, gamma), points, labels, mean([softplus(z) for z in found]), **stats)


def test_gradient_with_weights_held_still() -> None:
    labels, margin, gamma = Y.tolist(), 0.25, 16.0

    def by_rows(features: Tensor) -> Tensor:
        unit = features / features.norm(dim=1, keepdim=True)
        total = features.new_zeros(())
        for i in range(8):
            near = torch.stack([unit[i] @ unit[j] for j in positives(labels, i)])
            far = torch.stack([unit[i] @ unit[j] for j in negatives(labels, i)])
            pull = -gamma * (1 + margin - near).clamp(min=0).detach() * (near - 1 + margin)
            push = gamma * (far + margin).clamp(min=0).detach() * (far - margin)
            total = total + torch.nn.functional.softplus(pull.logsumexp(0) + push.logsumexp(0)) / 8
        return total

    gradients = []
    for loss in (by_rows, lambda x: CircleLoss(margin, gamma)(x, Y)):
        features = X.clone().requires_grad_()
        loss(features).backward()
        gradients.append(features.grad)
    assert gradients[0].abs().max() > 0.1 and torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


def test_solved_rows_stay_in_the_mean() -> None:
    tight = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-0.7, 0.7]])
    labels = torch.tensor([0, 0, 1, 1])
    loss = CircleLoss()
    rows = [loss(tight, labels).item() * 4]
    assert rows[0] > 0 and loss.stats["active_share"] == 0.5  # the library's own mean is over the two rows above 0
    assert rows[0] / 4 == pytest.approx(
        mean([softplus(z) for z in logits(tight.numpy(), Y[:4].tolist(), 0.25, 128)]), rel=1e-5
    )
