"""Cross-entropy with label smoothing: golden values, the formula in both conventions, rows without an identity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import TEACHER, Y, Z, golden, log_sum_exp, mean

from reidlab.errors import UserError
from reidlab.losses import CrossEntropyLoss


@pytest.mark.parametrize(
    "smoothing, convention, value", [(0.0, "all", 1.88603584), (0.1, "all", 1.87753888), (0.1, "others", 1.87470656)]
)
def test_golden(smoothing: float, convention: str, value: float) -> None:
    golden(CrossEntropyLoss(smoothing, convention), value, Z, Y)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=5),
    labels=st.lists(st.integers(-1, 2), min_size=5, max_size=5),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    convention=st.sampled_from(["all", "others"]),
)
def test_the_formula(rows: list[list[float]], labels: list[int], smoothing: float, convention: str) -> None:
    losses, active, right = [], [], []
    for row, label in zip(rows, labels):
        if label < 0:
            continue
        log_p = [z - log_sum_exp(row) for z in row]
        if convention == "all":
            q = [(1 - smoothing) * (c == label) + smoothing / 3 for c in range(3)]
        else:
            q = [1 - smoothing if c == label else smoothing / 2 for c in range(3)]
        losses.append(-sum(w * log for w, log in zip(q, log_p)))
        active.append(float(sum(abs(2.718281828459045**log - w) for w, log in zip(q, log_p)) / 2 > 0.01))
        right.append(float(row.index(max(row)) == label))
    loss = CrossEntropyLoss(smoothing, convention)
    got = loss(torch.tensor(rows, dtype=torch.float64), torch.tensor(labels[: len(rows)]))
    assert got.item() == pytest.approx(mean(losses), rel=1e-9, abs=1e-9)
    assert loss.stats["accuracy"].item() == pytest.approx(mean(right))
    assert loss.stats["active_share"].item() == pytest.approx(mean(active))


def test_accuracy_and_gradient() -> None:
    loss = CrossEntropyLoss(0.1)
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    loss(logits, torch.tensor([0, 1, 1, 1]))
    assert loss.stats["accuracy"] == 0.75
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.tensor([0, 1, 1, 1])), (logits,))


def test_rows_that_nobody_knows_change_nothing() -> None:
    labels = torch.cat([Y, torch.full((8,), -1)])
    for loss in (CrossEntropyLoss(0.1), CrossEntropyLoss(0.1, "others")):
        logits = torch.cat([Z, TEACHER]).requires_grad_()
        value = loss(logits, labels)
        value.backward()
        assert value.item() == pytest.approx(loss(Z, Y).item(), rel=1e-12)
        assert logits.grad is not None and not logits.grad[8:].any() and logits.grad[:8].all()


def test_active_rows() -> None:
    loss = CrossEntropyLoss()
    loss(torch.tensor([[9.0, 0.0], [4.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 0, 0]))
    assert loss.stats["active_share"].item() == pytest.approx(2 / 3)  # 1 - p is 0.0001, 0.018, 0.9999


def test_one_identity_has_nothing_to_learn() -> None:
    for convention in ("all", "others"):
        assert CrossEntropyLoss(0.1, convention)(torch.ones(3, 1), torch.zeros(3, dtype=torch.int64)) == 0


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_refused(smoothing: float) -> None:
    with pytest.raises(UserError, match=f"label_smoothing={smoothing}"):
        CrossEntropyLoss(smoothing)


def test_smoothing_that_turns_the_target_around_is_refused() -> None:
    with pytest.raises(UserError, match=r"label_smoothing=0\.8 .* of 4 identities .* at most 0\.75"):
        CrossEntropyLoss(0.8, "others")(Z, Y)
    assert torch.isfinite(CrossEntropyLoss(0.75, "others")(Z, Y))
