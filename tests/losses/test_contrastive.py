"""Contrastive loss: golden value, plain loops, the library as a second opinion."""

from __future__ import annotations

import math

import pytest
import torch
from loss_cases import X, Y, check, golden, mean, negatives, odd_batch, pair_means, positives, unit

from reidlab.losses import ContrastiveLoss


def test_golden() -> None:
    golden(ContrastiveLoss(), 2.14580306, X, Y)


@pytest.mark.parametrize("options", [{}, {"margin": 2.0, "positive_margin": 0.5, "normalize": False}])
@pytest.mark.parametrize("seed", range(8))
def test_against_loops(seed: int, options: dict[str, float]) -> None:
    points, labels = odd_batch(seed)
    seen, rows = points if options else unit(points), range(len(labels))
    inner, outer = options.get("positive_margin", 0.0), options.get("margin", 1.0)
    pulls = [math.dist(seen[i], seen[j]) - inner for i in rows for j in positives(labels, i)]
    pushes = [outer - math.dist(seen[i], seen[j]) for i in rows for j in negatives(labels, i)]
    value = mean([x for x in pulls if x > 0]) + mean([x for x in pushes if x > 0])
    share = mean([float(x > 0) for x in pulls + pushes])
    stats = pair_means(seen, labels) | {"active_share": share}
    check(ContrastiveLoss(**options), points, labels, value, **stats)  # type: ignore[arg-type]


@pytest.mark.parametrize("margins", [(0.0, 1.0), (0.3, 0.8)])
def test_against_the_library(margins: tuple[float, float]) -> None:
    from pytorch_metric_learning import losses

    features = torch.randn(24, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24) // 4
    expected = losses.ContrastiveLoss(*margins)(features, labels)
    found = ContrastiveLoss(positive_margin=margins[0], margin=margins[1])(features, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def test_positives_at_one_point_are_at_rest() -> None:
    points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64).requires_grad_()
    loss = ContrastiveLoss()
    value = loss(points, torch.tensor([0, 0, 1]))
    value.backward()
    assert value == 0 and loss.stats["active_share"] == 0 and points.grad is not None and not points.grad.any()
