"""Cross-entropy with label smoothing: golden values and the formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.losses import CrossEntropyLoss

Z = 2 * torch.cos(0.7 * torch.arange(1, 33, dtype=torch.float64)).reshape(8, 4)
Y = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize("smoothing, value", [(0.0, 1.88603584), (0.1, 1.87753888)])
def test_golden(smoothing: float, value: float) -> None:
    assert CrossEntropyLoss(smoothing)(Z, Y).item() == pytest.approx(value, rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=5),
    labels=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_the_formula(rows: list[list[float]], labels: list[int], smoothing: float) -> None:
    total = 0.0
    for row, label in zip(rows, labels):
        log_sum = max(row) + math.log(sum(math.exp(z - max(row)) for z in row))
        for c, z in enumerate(row):
            q = (1 - smoothing) * (c == label) + smoothing / 3
            total -= q * (z - log_sum) / len(rows)
    got = CrossEntropyLoss(smoothing)(torch.tensor(rows, dtype=torch.float64), torch.tensor(labels[: len(rows)]))
    assert got.item() == pytest.approx(total, rel=1e-9, abs=1e-9)


def test_accuracy_and_gradient() -> None:
    loss = CrossEntropyLoss(0.1)
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    loss(logits, torch.tensor([0, 1, 1, 1]))
    assert loss.stats["accuracy"] == 0.75
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.tensor([0, 1, 1, 1])), (logits,))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_refused(smoothing: float) -> None:
    with pytest.raises(UserError, match=f"label_smoothing={smoothing}"):
        CrossEntropyLoss(smoothing)
