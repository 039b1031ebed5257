"""Pairwise distances and their gradient at zero."""

from __future__ import annotations

import math

import pytest
import torch

from reidlab.losses.distance import pairwise_euclidean


def test_against_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 5, dtype=torch.float64, generator=generator) for n in (4, 7))
    got = pairwise_euclidean(a, b)
    assert got.shape == (4, 7)
    for i in range(4):
        for j in range(7):
            assert got[i, j].item() == pytest.approx(math.dist(a[i], b[j]), rel=1e-9)


@pytest.mark.parametrize("floor", [1e-12, 1e-8])
def test_the_floor(floor: float) -> None:
    points = torch.tensor([[1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    distance = pairwise_euclidean(points, points, floor=floor)
    assert distance.item() == pytest.approx(math.sqrt(floor))
    distance.sum().backward()
    assert torch.equal(points.grad, torch.zeros(1, 2, dtype=torch.float64))


def test_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 3, dtype=torch.float64, generator=generator).requires_grad_() for n in (3, 4))
    assert torch.autograd.gradcheck(pairwise_euclidean, (a, b))
