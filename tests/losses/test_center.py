"""Center loss: golden values, gradients of features and centres, the optimiser of its own."""

from __future__ import annotations

import math

import pytest
import torch
from loss_cases import W, X, Y, golden, mean, odd_batch

from reidlab.errors import UserError
from reidlab.losses import CenterLoss


def with_centers(centers: torch.Tensor, squared: bool = True) -> CenterLoss:
    loss = CenterLoss(*centers.shape, squared=squared).double()
    loss.centers.data.copy_(centers)
    return loss


@pytest.mark.parametrize("squared, value", [(True, 4.50041686), (False, 1.87001141)])
def test_golden(squared: bool, value: float) -> None:
    golden(with_centers(W, squared), value, X, Y)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_against_loops(seed: int, squared: bool) -> None:
    points, labels = odd_batch(seed)
    centers = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = [math.dist(point, centers[label]) for point, label in zip(points, labels) if label >= 0]
    loss = with_centers(centers, squared)
    value = loss(torch.from_numpy(points), torch.tensor(labels))
    assert value.item() == pytest.approx(mean([d * d if squared else d for d in found]), rel=1e-9)
    assert loss.stats["d_center"].item() == pytest.approx(mean(found), rel=1e-9)
    assert loss.stats["active_share"] == (1 if found else 0)


@pytest.mark.parametrize("squared", [True, False])
def test_gradient_of_features_and_centers(squared: bool) -> None:
    loss, features = with_centers(W, squared), X.clone().requires_grad_()

    def value(x: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(loss, {"centers": centers}, (x, Y))

    assert torch.autograd.gradcheck(value, (features, W.clone().requires_grad_()))


@pytest.mark.parametrize("squared", [True, False])
def test_on_the_center_nothing_pulls(squared: bool) -> None:
    loss, features = with_centers(W, squared), W.clone().requires_grad_()
    value = loss(features, torch.arange(4))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6) and features.grad is not None and not features.grad.any()
    assert loss.stats["active_share"] == 0


def test_its_own_optimiser_moves_the_centers_whatever_the_weight() -> None:
    moved = []
    for weight in (1.0, 5e-4):
        loss = with_centers(W)
        optimizer = torch.optim.SGD(loss.own_parameters(), lr=0.5)
        (weight * loss(X, Y)).backward()
        loss.rescale_gradients(weight)
        optimizer.step()
        moved.append(loss.centers.detach().clone())
    assert torch.allclose(*moved, rtol=1e-12)
    wanted = W + 0.5 * 2 / 8 * (X.reshape(4, 2, 4) - W[:, None]).sum(1)  # two images of each identity
    assert torch.allclose(moved[0], wanted, rtol=1e-12)


def test_rescaling_without_gradients_or_weight() -> None:
    loss = with_centers(W)
    loss.rescale_gradients(5e-4)
    assert loss.centers.grad is None
    with pytest.raises(UserError, match="weight=0"):
        loss.rescale_gradients(0)


def test_centers_are_saved_and_wrong_sizes_refused() -> None:
    assert list(CenterLoss(3, 2).state_dict()) == ["centers"]
    with pytest.raises(UserError, match=r"centres of dim 2; its features are \[8, 4\]"):
        CenterLoss(4, 2)(X.float(), Y)
