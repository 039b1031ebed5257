"""Focal loss: golden value, the formula, its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_cases import Y, Z, golden, log_sum_exp, mean

from reidlab.losses import CrossEntropyLoss, FocalLoss


def test_golden() -> None:
    golden(FocalLoss(), 0.38154885, Z, Y)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.5, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_formula(gamma: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = 4 * rng.normal(size=(7, 5)), rng.integers(-1, 5, 7).tolist()
    losses, active = [], []
    for row, label in zip(logits.tolist(), labels):
        if label >= 0:
            p = math.exp(row[label] - log_sum_exp(row))
            losses.append(-0.25 * (1 - p) ** gamma * math.log(p))
            # the slope of the loss in the right logit z, dp/dz = p (1 - p), by a difference
            up = p + 1e-7 * p * (1 - p)
            slope = (0.25 * (1 - up) ** gamma * math.log(up) + losses[-1]) / 1e-7
            active.append(float(slope > 0.01 * 0.25))
    loss = FocalLoss(gamma)
    found = loss(torch.from_numpy(logits), torch.tensor(labels))
    assert found.item() == pytest.approx(mean(losses), rel=1e-9)
    assert loss.stats["active_share"].item() == pytest.approx(mean(active))


def test_without_focus_it_is_cross_entropy() -> None:
    assert FocalLoss(0.0, 1.0)(Z, Y).item() == pytest.approx(CrossEntropyLoss()(Z, Y).item(), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 1.5])
def test_certain_rows_have_a_finite_gradient(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0]]).requires_grad_()
    loss = FocalLoss(gamma)
    loss(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert not logits.grad[0].any() and logits.grad[1].all()
    assert loss.stats["active_share"] == 0.5 and loss.stats["accuracy"] == 0.5
