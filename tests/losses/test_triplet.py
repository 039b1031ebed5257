"""Batch-hard triplet loss: golden values, plain loops, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import X, Y, check, cosine, golden, mean, odd_batch, sigmoid, softplus

from reidlab.errors import UserError
from reidlab.losses import TripletLoss
from reidlab.losses.triplet import batch_hard


@pytest.mark.parametrize(
    "options, value",
    [
        ({"margin": 0.3}, 2.07735515),
        ({"margin": 0.3, "normalize": True}, 1.56294119),
        ({"soft_margin": True}, 1.93951429),
        ({"margin": 0.3, "distance": "cosine"}, 3.27238937),
    ],
)
def test_golden(options: dict[str, float], value: float) -> None:
    golden(TripletLoss(**options), value, X, Y)  # type: ignore[arg-type]


def naive(distances: list[list[float]], labels: list[int], margin: float, soft: bool) -> tuple[float, float]:
    losses, active = [], []
    for d, label in zip(distances, labels):
        near = [d[j] for j, other in enumerate(labels) if other == label]  # itself too
        far = [d[j] for j, other in enumerate(labels) if other not in (label, -1)]
        if label < 0 or not far:
            continue
        gap = max(near) - min(far)
        losses.append(softplus(gap) if soft else max(0.0, gap + margin))
        active.append(float(sigmoid(gap) > 0.01 if soft else gap + margin > 0))
    return mean(losses), mean(active)


@settings(deadline=None, max_examples=100)
@given(
    points=st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=2, max_size=9),
    labels=st.lists(st.integers(-1, 3), min_size=9, max_size=9),
    margin=st.sampled_from([0.0, 0.25, 1.0]),
    soft=st.booleans(),
)
def test_against_loops(points: list[tuple[int, int]], labels: list[int], margin: float, soft: bool) -> None:
    labels = labels[: len(points)]
    distances = [[max(math.dist(a, b), 1e-6) for b in points] for a in points]
    expected, active = naive(distances, labels, margin, soft)
    loss = TripletLoss(margin, soft_margin=soft)
    check(loss, np.array(points, dtype=float), labels, expected, active_share=active)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_cosine_against_loops(seed: int, soft: bool) -> None:
    points, labels = odd_batch(seed)
    distances = [[2 - 2 * cosine(a, b) for b in points] for a in points]
    expected, active = naive(distances, labels, 0.4, soft)
    check(TripletLoss(0.4, soft, distance="cosine"), points, labels, expected, active_share=active)


def test_batch_hard() -> None:
    distances = torch.tensor([[0.0, 3.0, 1.0], [3.0, 0.0, 2.0], [1.0, 2.0, 0.0]])
    d_ap, d_an, usable = batch_hard(distances, torch.tensor([5, 5, 7]))
    assert d_ap.tolist() == [3, 3, 0] and d_an.tolist() == [1, 2, 1] and usable.all()
    assert not batch_hard(distances, torch.tensor([5, 5, 5]))[2].any()
    d_ap, d_an, usable = batch_hard(distances, torch.tensor([5, 7, -1]))
    assert usable.tolist() == [True, True, False] and d_ap.tolist() == [0, 0, 0] and d_an[:2].tolist() == [3, 3]


def test_stats() -> None:
    loss = TripletLoss(0.5)
    loss(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]))
    assert loss.stats["d_ap"].item() == pytest.approx(2 / 3, abs=1e-6)
    assert loss.stats["d_an"].item() == pytest.approx(7 / 3)
    assert loss.stats["active_share"] == 0
    assert not any(value.requires_grad for value in loss.stats.values())


def test_stats_are_euclidean_with_either_distance() -> None:
    one, two = TripletLoss(distance="cosine"), TripletLoss(normalize=True)
    one(X, Y)
    two(X, Y)
    for name in ("d_ap", "d_an"):
        assert one.stats[name].item() == pytest.approx(two.stats[name].item(), rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"soft_margin": True}, {"normalize": True}, {"distance": "cosine"}])
def test_gradient(options: dict[str, object]) -> None:
    points = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda x: TripletLoss(**options)(x, labels), (points,))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"soft_margin": True}, {"normalize": True}, {"distance": "cosine"}])
def test_gradient_is_finite_where_points_coincide(options: dict[str, object]) -> None:
    points = torch.ones(6, 16).requires_grad_()
    TripletLoss(**options)(points, torch.tensor([0, 0, 1, 1, 2, 2])).backward()  # type: ignore[arg-type]
    assert points.grad is not None and torch.isfinite(points.grad).all()


def test_refused() -> None:
    with pytest.raises(UserError, match=r"margin=-0\.1"):
        TripletLoss(-0.1)
    with pytest.raises(UserError, match="margin=nan"):
        TripletLoss(float("nan"))


def test_one_identity_pulls_nothing() -> None:
    points = X.clone().requires_grad_()
    loss = TripletLoss()
    value = loss(points, torch.zeros(8, dtype=torch.int64))
    value.backward()
    assert value == 0 and points.grad is not None and not points.grad.any()
    assert loss.stats["active_share"] == 0 and loss.stats["d_ap"] == 0
