"""FPB's penalty on maps: eigenvalues by torch, values by hand, the gradient where the iteration has converged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses import build


def penalty(features: Tensor, channels: int, iterations: int = 10) -> Tensor:
    return build("cross_orthogonality", channels=channels, iterations=iterations)(features)


@pytest.mark.parametrize("channels, positions", [(3, 7), (4, 4), (5, 2), (1, 3)])
def test_against_eigenvalues(channels: int, positions: int) -> None:
    maps = torch.rand(3, channels, positions, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    squares = [torch.linalg.eigvalsh(one @ one.T) for one in maps]
    expected = sum(float(values[-1] - values[0]) for values in squares) / 3
    assert penalty(maps.flatten(1), channels, 500).item() == pytest.approx(expected, rel=1e-4, abs=1e-12)


def test_by_hand() -> None:
    at_right_angles = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    same = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])  # eigenvalues 2 and 0
    assert penalty(at_right_angles.flatten(1), 2).item() == pytest.approx(0.0, abs=1e-6)
    assert penalty(same.flatten(1), 2).item() == pytest.approx(2.0)
    loss = build("cross_orthogonality", channels=2)
    assert loss(torch.cat([at_right_angles, same]).flatten(1)).item() == pytest.approx(1.0)
    assert loss.stats["active_share"] == 0.5
    assert penalty(torch.zeros(2, 6), 2).item() == 0.0


def test_gradient() -> None:
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(2, n, n, dtype=torch.float64)).Q for n in (3, 4))
    scales = torch.tensor([2.0, 1.4, 0.6], dtype=torch.float64)  # apart, so that few iterations do
    maps = (left * scales @ right[:, :3]).flatten(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: penalty(x, 3, 60), (maps,))


def test_it_knows_no_identities() -> None:
    features, loss = torch.rand(4, 12), build("cross_orthogonality", channels=3)
    assert loss(features) == loss(features, torch.arange(4)) == loss(features, torch.full((4,), -1))


def test_half_precision_and_autocast() -> None:
    features = torch.rand(4, 12).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(penalty(features, 3), penalty(features.float(), 3))


@pytest.mark.parametrize("features", [torch.rand(2, 7), torch.rand(2, 3, 2)])
def test_features_that_are_no_maps(features: Tensor) -> None:
    with pytest.raises(
        UserError, match=rf"features \[{', '.join(map(str, features.shape))}\] are not .* of 3 channels"
    ):
        penalty(features, 3)
