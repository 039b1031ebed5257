"""SupCon: golden value and plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from loss_cases import X, Y, check, cosine, golden, log_sum_exp, mean, negatives, odd_batch, pair_means, positives, unit

from reidlab.losses import SupConLoss


def test_golden() -> None:
    golden(SupConLoss(0.1), 15.01719045, X, Y)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("seed", range(10))
def test_against_loops(seed: int, temperature: float) -> None:
    points, labels = odd_batch(seed)
    losses, active = [], []
    any_negative = any(negatives(labels, i) for i in range(len(labels)))
    for i in range(len(labels)):
        near, far = positives(labels, i), negatives(labels, i)
        if not near or not any_negative:
            continue
        logits = {j: cosine(points[i], points[j]) / temperature for j in near + far}
        log_p = {j: z - log_sum_exp(list(logits.values())) for j, z in logits.items()}
        losses.append(-mean([log_p[j] for j in near]))
        wrong = sum(abs(math.exp(log_p[j]) - (j in near) / len(near)) for j in logits) / 2
        active.append(float(wrong > 0.01))
    stats = pair_means(unit(points), labels) | {"active_share": mean(active)}
    check(SupConLoss(temperature), points, labels, mean(losses), **stats)


def test_positives_that_are_alike_and_alone_are_at_rest() -> None:
    points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    loss = SupConLoss(0.05)
    value = loss(points, torch.tensor([0, 0, 0, 1, 1]))
    assert loss.stats["active_share"] == 0
    assert value.item() == pytest.approx(3 / 5 * math.log(2), abs=1e-6)  # the least there is: log of two positives
