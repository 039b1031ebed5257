"""Balances of several losses: values by hand, gradients against loops, and that a training learns with each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from reidlab.errors import UserError
from reidlab.registry import BALANCES
from reidlab.training.balancing import GradNorm, build_balance, project_conflicts

LABELS = ["loss_one", "loss_two", "loss_three"]


def toy() -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return a weight, shared features made of it, and three losses of which the first two pull apart."""
    weight = torch.tensor([[1.0, 0.5], [-0.3, 0.8]], requires_grad=True)
    shared = torch.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 0.1]]) @ weight
    target = torch.tensor([[1.0, 0.0]])
    return weight, shared, [(shared * target).sum(), -(shared * (target + 0.2)).sum(), shared.square().mean()]


def test_fixed_weights_are_the_sum() -> None:
    _, shared, values = toy()
    total, figures = build_balance("fixed", 3)(values, [1.0, 2.0, 0.5], shared, LABELS)
    assert total.item() == pytest.approx((values[0] + 2 * values[1] + 0.5 * values[2]).item())
    assert figures == {}


@pytest.mark.parametrize("name", BALANCES)
def test_cosines_of_gradients(name: str) -> None:
    _, shared, values = toy()
    _, figures = build_balance(name, 3, cosines=True)(values, [1.0, 2.0, 0.5], shared, LABELS)
    gradients = [torch.autograd.grad(value, shared, retain_graph=True)[0].flatten().tolist() for value in values]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        one, two = gradients[i], gradients[j]
        expected = sum(a * b for a, b in zip(one, two)) / math.sqrt(sum(a * a for a in one) * sum(b * b for b in two))
        key = f"cosine_{LABELS[i].removeprefix('loss_')}_{LABELS[j].removeprefix('loss_')}"
        assert figures[key].item() == pytest.approx(expected, rel=1e-5)
        assert not figures[key].requires_grad


def test_uncertainty_by_hand() -> None:
    _, shared, values = toy()
    balance = build_balance("uncertainty", 3)
    with torch.no_grad():
        balance.log_variances.copy_(torch.tensor([0.5, -1.0, 0.0]))  # type: ignore[operator]
    total, figures = balance(values, [1.0, 2.0, 1.0], shared, LABELS)
    expected = math.exp(-0.5) * values[0].item() + math.exp(1.0) * 2 * values[1].item() + values[2].item() - 0.5
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert figures["weight_two"].item() == pytest.approx(math.exp(1.0))
    total.backward()
    gradient = balance.log_variances.grad  # type: ignore[union-attr]
    assert gradient[2].item() == pytest.approx(1 - values[2].item(), rel=1e-5)  # type: ignore[index]


def test_conflicts_are_projected_as_in_the_paper() -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(4, 6))
    expected = []
    for i in range(4):
        own = given[i].copy()
        for j in range(4):
            if i != j and own @ given[j] < 0:
                own = own - (own @ given[j]) / (given[j] @ given[j]) * given[j]
        expected.append(own)
    np.testing.assert_allclose(project_conflicts(torch.from_numpy(given)).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_two_projected_gradients_do_not_conflict() -> None:
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    kept = project_conflicts(torch.stack([one, two]))
    assert (kept[0] @ two).item() == pytest.approx(0.0, abs=1e-6)
    assert (kept[1] @ one).item() == pytest.approx(0.0, abs=1e-6)
    agreeing = torch.stack([one, torch.tensor([1.0, 1.0])])
    assert torch.equal(project_conflicts(agreeing), agreeing)


def test_pcgrad_moves_the_weights_by_the_projected_gradient() -> None:
    weight, shared, values = toy()
    gradients = torch.stack([torch.autograd.grad(v, shared, retain_graph=True)[0].flatten() for v in values])
    wanted = project_conflicts(gradients).sum(0).reshape(shared.shape)
    (expected,) = torch.autograd.grad(shared, weight, wanted, retain_graph=True)
    total, figures = build_balance("pcgrad", 3)(values, [1.0] * 3, shared, LABELS)
    assert total.item() == pytest.approx(sum(value.item() for value in values), rel=1e-6)
    total.backward()
    torch.testing.assert_close(weight.grad, expected)
    assert 0 < figures["conflicts"] <= 1


def test_a_term_that_sees_nothing_shared_is_left_alone() -> None:
    _, shared, values = toy()
    own = torch.tensor(2.0, requires_grad=True)
    total, _ = build_balance("pcgrad", 2, cosines=True)([values[0], own.square()], [1.0, 1.0], shared, LABELS[:2])
    total.backward()
    assert own.grad is not None and own.grad.item() == pytest.approx(4.0)


def test_gradnorm_evens_the_lengths_out() -> None:
    balance = build_balance("gradnorm", 2, alpha=0.0, lr=0.05)
    assert isinstance(balance, GradNorm)
    weight = torch.tensor([[0.5, -0.2]], requires_grad=True)
    lengths: list[float] = []
    for _ in range(200):
        shared = torch.ones(3, 1) @ weight
        values = [10 * shared.square().sum(), shared.square().sum()]
        balance(values, [1.0, 1.0], shared, LABELS[:2])
        gradients = [torch.autograd.grad(v, shared, retain_graph=True)[0].norm().item() for v in values]
        lengths = [w * g for w, g in zip(balance.weights.tolist(), gradients)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.3)
    assert balance.weights.sum().item() == pytest.approx(2.0)


def test_gradnorm_pushes_the_term_that_learns_slowly() -> None:
    balance = build_balance("gradnorm", 2, alpha=1.5, lr=0.05)
    shared = torch.ones(2, 2, requires_grad=True)
    for step in range(20):
        factor = 0.9**step
        values = [shared.sum() * factor, shared.sum() * 1.0 + 0 * factor]
        balance(values, [1.0, 1.0], shared, LABELS[:2])
    assert balance.weights[1] > balance.weights[0]  # type: ignore[index]


@pytest.mark.parametrize("name", BALANCES)
def test_one_term_and_no_graph(name: str) -> None:
    balance = build_balance(name, 1, cosines=True)
    total, figures = balance([torch.tensor(3.0)], [2.0], torch.zeros(2, 2), ["loss_one"])
    assert total.item() == pytest.approx(6.0)
    assert all(torch.isfinite(value) for value in figures.values())


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("uncertainy", {}, "uncertainty"),
        ("uncertainty", {"lr": 0.0}, "lr=0"),
        ("gradnorm", {"alpha": -1.0}, "alpha"),
        ("fixed", {"cosine": True}, "cosine"),
    ],
)
def test_impossible_balances(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_balance(name, 2, **options)
