"""NT-Xent: golden value, plain loops, the library as a second opinion, and temperatures it cannot bear."""

from __future__ import annotations

import math

import pytest
import torch
from loss_cases import X, Y, check, cosine, golden, log_sum_exp, mean, negatives, odd_batch, pair_means, positives, unit

from reidlab.losses import NTXentLoss


def test_golden() -> None:
    golden(NTXentLoss(0.07), 21.34445897, X, Y)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_against_loops(seed: int, temperature: float) -> None:
    points, labels = odd_batch(seed)
    losses, active = [], []
    for i in range(len(labels)):
        far = [cosine(points[i], points[j]) / temperature for j in negatives(labels, i)]
        for j in positives(labels, i) if far else ():
            near = cosine(points[i], points[j]) / temperature
            losses.append(log_sum_exp([near, *far]) - near)
            active.append(float(1 - math.exp(-losses[-1]) > 0.01))
    stats = pair_means(unit(points), labels) | {"active_share": mean(active)}
    check(NTXentLoss(temperature), points, labels, mean(losses), **stats)


def test_against_the_library() -> None:
    from pytorch_metric_learning import losses

    features = torch.randn(24, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24) // 4
    assert NTXentLoss(0.2)(features, labels).item() == pytest.approx(losses.NTXentLoss(0.2)(features, labels).item())


def test_a_cold_softmax_still_pulls() -> None:
    # exp(-2 / 0.01) is 0 in float32: a quotient of exponentials has no gradient any more
    points = torch.tensor([[1.0, 0.1], [-1.0, 0.0], [1.0, 0.0]]).requires_grad_()
    value = NTXentLoss(0.01)(points, torch.tensor([0, 0, 1]))
    value.backward()
    assert value.item() == pytest.approx(mean([199.5 - 0.0, 100.0 * (0.0 + 0.995)]), rel=0.7)
    assert points.grad is not None and points.grad[1].abs().max() > 1
