"""The base of all losses: what a subclass writes is its maths, and types that can be looked up."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses import LOSSES
from reidlab.losses.base import Loss


class Spread(Loss):
    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        self.stats = {"largest": features.amax()}
        return features.square().mean()


class Wider(Spread):
    """Inherits a forward, which is decorated already."""


@pytest.mark.parametrize("kind", [Spread, Wider])
def test_forward_sees_what_can_be_used(kind: type[Loss]) -> None:
    loss = kind()
    assert loss.stats == {}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(torch.full((2, 3), 300.0, dtype=torch.float16), torch.tensor([0, 1]))
    assert value.dtype == torch.float32 and value == 90_000 and loss.stats["largest"] == 300
    with pytest.raises(UserError, match=r"features \[batch, dim\] and labels \[batch\]"):
        loss(torch.ones(2, 3), torch.tensor([0]))
    with pytest.raises(UserError, match="labels are identities"):
        loss(torch.ones(2, 3), torch.ones(2))


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_stand_in_the_signature(name: str) -> None:
    kind = LOSSES.find(name).factory
    assert issubclass(kind, Loss)
    first = list(inspect.signature(kind.forward, eval_str=True).parameters.values())[1]
    assert first.annotation.array_type is Tensor and first.annotation.dim_str.split()[0] in ("batch", "triplet")
    assert not any(isinstance(each.annotation, str) for each in LOSSES.options(name).values())
