"""Multi-Similarity: golden values, plain loops with and without mining, pytorch-metric-learning as a second opinion."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_cases import X, Y, check, cosine, golden, mean, negatives, odd_batch, pair_means, positives, unit

from reidlab.losses import MultiSimilarityLoss


@pytest.mark.parametrize("base, value", [(1.0, 1.65661856), (0.5, 1.53701779)])
def test_golden(base: float, value: float) -> None:
    golden(MultiSimilarityLoss(2, 50, base), value, X, Y)


def naive(points: np.ndarray, labels: list[int], base: float, mining: bool) -> tuple[float, float]:
    losses, active = [], []
    for i in range(len(labels)):
        if labels[i] < 0:
            continue
        near = [cosine(points[i], points[j]) for j in positives(labels, i)]
        far = [cosine(points[i], points[j]) for j in negatives(labels, i)]
        if mining:
            kept = [s for s in near if far and s - 0.1 < max(far)], [s for s in far if near and s + 0.1 > min(near)]
            near, far = kept
        pull, push = sum(math.exp(-2 * (s - base)) for s in near), sum(math.exp(50 * (s - base)) for s in far)
        losses.append(math.log1p(pull) / 2 + math.log1p(push) / 50)
        active.append(float(max(pull / (1 + pull), push / (1 + push)) > 0.01))
    return mean(losses), mean(active)


@pytest.mark.parametrize("mining", [False, True])
@pytest.mark.parametrize("base", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(8))
def test_against_loops(seed: int, base: float, mining: bool) -> None:
    points, labels = odd_batch(seed)
    value, active = naive(points, labels, base, mining)
    stats = pair_means(unit(points), labels) | {"active_share": active}
    check(MultiSimilarityLoss(base=base, mining=mining), points, labels, value, **stats)


@pytest.mark.parametrize("mining", [False, True])
def test_against_the_library(mining: bool) -> None:
    from pytorch_metric_learning import losses, miners

    features = torch.randn(24, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24) // 4
    mined = miners.MultiSimilarityMiner(0.1)(features, labels) if mining else None
    expected = losses.MultiSimilarityLoss(2, 40, 0.7)(features, labels, mined)
    found = MultiSimilarityLoss(2, 40, 0.7, mining=mining)(features, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_one_mined_pair_of_each_kind_counts() -> None:
    # of the first row one positive and one negative are kept, of the others nothing: the library answers 0
    angles = torch.tensor([0.0, 1.0, -1.05, 2.6], dtype=torch.float64)
    points = torch.stack([angles.cos(), angles.sin()], 1).numpy()
    labels = [0, 0, 1, -1]
    value, active = naive(points, labels, 0.5, True)
    assert value > 0.1 and active == pytest.approx(1 / 3)
    check(MultiSimilarityLoss(base=0.5, mining=True), points, labels, value, active_share=active)


def test_mining_leaves_a_solved_batch_alone() -> None:
    solved = torch.tensor([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.01]]).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1])
    value = MultiSimilarityLoss(mining=True)(solved, labels)
    value.backward()
    assert value == 0 and solved.grad is not None and not solved.grad.any()
    assert MultiSimilarityLoss()(solved, labels) > 0
