"""Batch-hard triplet loss: golden values, plain loops, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.losses import TripletLoss
from reidlab.losses.triplet import batch_hard

X = torch.sin(torch.arange(1, 33, dtype=torch.float64)).reshape(8, 4)
Y = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize(
    "options, value",
    [
        ({"margin": 0.3}, 2.07735515),
        ({"margin": 0.3, "normalize": True}, 1.56294119),
        ({"soft_margin": True}, 1.93951429),
    ],
)
def test_golden(options: dict[str, float], value: float) -> None:
    assert TripletLoss(**options)(X, Y).item() == pytest.approx(value, rel=1e-6)  # type: ignore[arg-type]


def naive(points: np.ndarray, labels: list[int], margin: float, soft: bool) -> tuple[float, float]:
    losses, active = [], 0
    for i in range(len(points)):
        d = [max(math.dist(points[i], other), 1e-6) for other in points]
        positives = [d[j] for j in range(len(points)) if labels[j] == labels[i]]  # itself too
        negatives = [d[j] for j in range(len(points)) if labels[j] != labels[i]]
        if not negatives:
            continue
        gap = max(positives) - min(negatives)
        losses.append(math.log1p(math.exp(gap)) if soft else max(0.0, gap + margin))
        active += gap > 0 if soft else gap + margin > 0
    return sum(losses) / len(losses), active / len(losses)


@settings(deadline=None, max_examples=100)
@given(
    points=st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=2, max_size=9),
    labels=st.lists(st.integers(0, 3), min_size=9, max_size=9),
    margin=st.sampled_from([0.0, 0.25, 1.0]),
    soft=st.booleans(),
)
def test_against_loops(points: list[tuple[int, int]], labels: list[int], margin: float, soft: bool) -> None:
    labels = labels[: len(points)]
    assume(len(set(labels)) > 1)
    features = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    loss = TripletLoss(margin, soft_margin=soft)
    total = loss(features, torch.tensor(labels))
    expected, active = naive(np.array(points, dtype=float), labels, margin, soft)
    assert total.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert loss.stats["active_share"].item() == pytest.approx(active)
    total.backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()


def test_batch_hard() -> None:
    distances = torch.tensor([[0.0, 3.0, 1.0], [3.0, 0.0, 2.0], [1.0, 2.0, 0.0]])
    d_ap, d_an, usable = batch_hard(distances, torch.tensor([5, 5, 7]))
    assert d_ap.tolist() == [3, 3, 0] and d_an.tolist() == [1, 2, 1] and usable.all()
    assert not batch_hard(distances, torch.tensor([5, 5, 5]))[2].any()


def test_stats() -> None:
    loss = TripletLoss(0.5)
    loss(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]))
    assert loss.stats["d_ap"].item() == pytest.approx(2 / 3, abs=1e-6)
    assert loss.stats["d_an"].item() == pytest.approx(7 / 3)
    assert loss.stats["active_share"] == 0
    assert not any(value.requires_grad for value in loss.stats.values())


@pytest.mark.parametrize("options", [{}, {"soft_margin": True}, {"normalize": True}])
def test_gradient(options: dict[str, bool]) -> None:
    points = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda x: TripletLoss(**options)(x, labels), (points,))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"soft_margin": True}, {"normalize": True}])
def test_gradient_is_finite_where_points_coincide(options: dict[str, bool]) -> None:
    points = torch.ones(6, 16).requires_grad_()
    TripletLoss(**options)(points, torch.tensor([0, 0, 1, 1, 2, 2])).backward()  # type: ignore[arg-type]
    assert points.grad is not None and torch.isfinite(points.grad).all()


def test_refused() -> None:
    with pytest.raises(UserError, match=r"margin=-0\.1"):
        TripletLoss(-0.1)
    with pytest.raises(UserError, match="margin=nan"):
        TripletLoss(float("nan"))
    with pytest.raises(UserError, match="two identities in a batch"):
        TripletLoss()(X, torch.zeros(8, dtype=torch.int64))
