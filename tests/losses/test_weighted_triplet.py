"""Weighted triplets: golden values, plain loops, and where the published code goes wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_cases import X, Y, check, golden, mean, negatives, odd_batch, positives, sigmoid, softplus, unit
from torch import Tensor

from reidlab.losses import WeightedTripletLoss
from reidlab.losses.distance import pairwise_euclidean


@pytest.mark.parametrize("normalize, value", [(False, 1.31479995), (True, 0.95875487)])
def test_golden(normalize: bool, value: float) -> None:
    golden(WeightedTripletLoss(normalize=normalize), value, X, Y)


def weighted(distances: list[float], sign: int) -> float:
    weights = [math.exp(sign * d) for d in distances]
    return sum(w * d for w, d in zip(weights, distances)) / sum(weights)


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"soft_margin": False, "margin": 0.5}])
@pytest.mark.parametrize("seed", range(8))
def test_against_loops(seed: int, options: dict[str, float]) -> None:
    points, labels = odd_batch(seed)
    seen = unit(points) if "normalize" in options else points
    losses, active, d_ap, d_an = [], [], [], []
    for i in range(len(labels)):
        far = [math.dist(seen[i], seen[j]) for j in negatives(labels, i)]
        if not far:
            continue
        d_ap.append(weighted([1e-6, *(math.dist(seen[i], seen[j]) for j in positives(labels, i))], 1))
        d_an.append(weighted(far, -1))
        gap = d_ap[-1] - d_an[-1]
        losses.append(max(0.0, gap + 0.5) if "margin" in options else softplus(gap))
        active.append(float(gap + 0.5 > 0 if "margin" in options else sigmoid(gap) > 0.01))
    stats = {"active_share": mean(active), "d_ap": mean(d_ap), "d_an": mean(d_an)}
    check(WeightedTripletLoss(**options), points, labels, mean(losses), **stats)  # type: ignore[arg-type]


def published(features: Tensor, labels: Tensor) -> float:
    """AGW's arithmetic: 1e-6 in the sums, and exponents of negatives scaled by the masked entries' 0."""
    distances = pairwise_euclidean(features, features)
    same = (labels[:, None] == labels[None]).double()
    rows = []
    for signed, mask in ((distances * same, same), (-distances * (1 - same), 1 - same)):
        powers = torch.exp(signed - (signed * mask).amax(1, keepdim=True)) * mask
        rows.append((powers / (powers.sum(1, keepdim=True) + 1e-6) * distances).sum(1))
    return float(torch.nn.functional.softplus(rows[0] - rows[1]).mean())


def test_the_published_code_agrees_where_distances_are_small() -> None:
    assert published(X, Y) == pytest.approx(1.31479995, abs=5e-9)
    assert WeightedTripletLoss()(X, Y).item() == pytest.approx(published(X, Y), rel=1e-6)


def test_far_negatives_keep_their_weight() -> None:
    far = torch.tensor([[0.0], [1.0], [40.0], [41.0]], dtype=torch.float64)
    labels, loss = torch.tensor([0, 0, 1, 1]), WeightedTripletLoss()
    loss(far, labels)
    assert loss.stats["d_an"].item() == pytest.approx(39.8, abs=0.3)
    assert published(far, labels) > 1 > 1e-9 > loss(far, labels).item()


def test_all_one_point() -> None:
    points = torch.ones(4, 3, dtype=torch.float64).requires_grad_()
    value = WeightedTripletLoss()(points, torch.tensor([0, 0, 1, 1]))
    value.backward()
    assert value.item() == pytest.approx(math.log(2)) and points.grad is not None and not points.grad.any()
    assert np.isfinite(value.item())
