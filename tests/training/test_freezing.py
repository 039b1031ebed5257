"""Frozen modules: no gradient, no new statistics, and free again on time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reidlab.errors import UserError
from reidlab.training.freezing import Freezing, modules_named
from reidlab.training.recipes import FreezePart


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.backbone[0].bias.requires_grad_(False)  # fixed by the model itself
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


def test_frozen_then_free() -> None:
    torch.manual_seed(0)
    model = Tiny()
    freezing = Freezing(FreezePart(epochs=2), model)
    norm, x = model.backbone[1], torch.randn(8, 3)
    for epoch in range(4):
        model.zero_grad()
        before = norm.running_mean.clone()
        model.train()
        freezing.begin(epoch)
        held = epoch < 2
        assert freezing.holds(epoch) is held and model.training and model.head.training
        assert norm.training is model.backbone[2].training is not held
        first, second = model(x), model(x)
        assert torch.equal(first, second) is held, "frozen dropout rests"
        second.sum().backward()
        assert (model.backbone[0].weight.grad is None) is held and model.head.weight.grad is not None
        assert torch.equal(norm.running_mean, before) is held
        assert model.backbone[0].bias.requires_grad is False, "what the model keeps fixed stays fixed"


def test_without_a_part_nothing_changes() -> None:
    model = Tiny().train()
    freezing = Freezing(None, model)
    freezing.begin(0)
    assert not freezing.holds(0) and all(m.training for m in model.modules())
    assert sum(p.requires_grad for p in model.parameters()) == 5


def test_several_modules_and_one_inside_another() -> None:
    freezing = Freezing(FreezePart(epochs=1, modules=("backbone", "backbone.1")), Tiny())
    assert len(freezing.parameters) == 3


def test_names_that_the_model_lacks() -> None:
    with pytest.raises(
        UserError, match=r"freeze.modules: the model has no module 'bakcbone'; it has backbone, head.*Did"
    ):
        Freezing(FreezePart(epochs=1, modules=("bakcbone",)), Tiny())
    with pytest.raises(UserError, match=r"no module ''"):
        modules_named(Tiny(), [""], "x")
    with pytest.raises(UserError, match="leaves nothing to train"):
        Freezing(FreezePart(epochs=1, modules=("backbone", "head")), Tiny())
