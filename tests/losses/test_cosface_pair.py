"""Pair CosFace: golden value and plain loops."""

from __future__ import annotations

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

from reidlab.losses import CosFacePairLoss


def test_golden() -> None:
    golden(CosFacePairLoss(0.3, 128), 228.63543346, X, Y)


@pytest.mark.parametrize("margin, gamma", [(0.3, 128.0), (0.0, 2.0)])
@pytest.mark.parametrize("seed", range(8))
def test_against_loops(seed: int, margin: float, gamma: float) -> None:
    points, labels = odd_batch(seed)
    found = []
    for i in range(len(labels)):
        near = [-gamma * cosine(points[i], points[j]) for j in positives(labels, i)]
        far = [gamma * (cosine(points[i], points[j]) + margin) for j in negatives(labels, i)]
        if near and far:
            found.append(log_sum_exp(near) + log_sum_exp(far))
    stats = pair_means(unit(points), labels) | {"active_share": mean([float(sigmoid(z) > 0.01) for z in found])}
    check(CosFacePairLoss(margin, gamma), points, labels, mean([softplus(z) for z in found]), **stats)


def test_a_large_scale_is_the_hinge_of_the_hardest_pairs() -> None:
    unit_rows = torch.nn.functional.normalize(X, dim=1)
    s = unit_rows @ unit_rows.T
    same = Y[:, None] == Y[None]
    hardest = s.masked_fill(~same, 9).amin(1), s.masked_fill(same, -9).amax(1)
    hinge = (hardest[1] - hardest[0] + 0.3).clamp(min=0).mean()
    assert CosFacePairLoss(0.3, 1e5)(X, Y).item() / 1e5 == pytest.approx(hinge.item(), rel=1e-4)
