"""Losses by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reidlab.errors import UserError
from reidlab.losses import LOSSES, EHTMLoss, TripletLoss, build


@pytest.mark.parametrize("name", LOSSES)
def test_every_registered_loss(name: str) -> None:
    loss = build(name)
    features, labels = torch.randn(6, 6, requires_grad=True), torch.tensor([0, 0, 1, 1, 2, 2])
    given = (features, features + 1, features - 1, labels, labels.flip(0)) if name == "ehtm" else (features, labels)
    value = loss(*given)
    value.backward()
    assert value.dim() == 0 and torch.isfinite(value)
    assert loss.stats and all(stat.dim() == 0 and not stat.requires_grad for stat in loss.stats.values())
    assert features.grad is not None and torch.isfinite(features.grad).all()


def test_options() -> None:
    assert isinstance(build("triplet", margin=1, soft_margin=True), TripletLoss)
    made = build("ehtm", margin=1.2, reduction="mean")
    assert isinstance(made, EHTMLoss) and (made.margin, made.reduction) == (1.2, "mean")


@pytest.mark.parametrize(
    "name, options, words",
    [
        (
            "triplets",
            {},
            r"loss 'triplets' is unknown; choose from cross_entropy, triplet, ehtm. Did you mean 'triplet'\?",
        ),
        ("triplet", {"margn": 1}, r"loss 'triplet' has no option 'margn'; .*Did you mean 'margin'\?"),
        ("triplet", {"margin": "3e-1"}, "margin='3e-1' must be a number, such as 0.3"),
        ("triplet", {"normalize": 1}, "normalize=1 must be true or false"),
        ("ehtm", {"intra_weight": None}, "intra_weight=None must be a number"),
        ("ehtm", {"margin": -1}, "margin=-1"),
        ("cross_entropy", {"label_smoothing": 1.5}, "label_smoothing=1.5"),
    ],
)
def test_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(name, **options)
