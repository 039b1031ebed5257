"""Losses by name.

Each is (features, labels) -> scalar with `.stats` after a call; "ehtm" takes (a, p, n, a_labels, n_labels).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from reidlab.errors import UserError, nearest
from reidlab.losses.cross_entropy import CrossEntropyLoss
from reidlab.losses.ehtm import EHTMLoss
from reidlab.losses.triplet import TripletLoss
from reidlab.models.build import check_options

__all__ = ["LOSSES", "CrossEntropyLoss", "EHTMLoss", "TripletLoss", "build"]

LOSSES: dict[str, type[nn.Module]] = {
    "cross_entropy": CrossEntropyLoss,
    "triplet": TripletLoss,
    "ehtm": EHTMLoss,
}


def build(name: str, **options: Any) -> nn.Module:
    """Build a loss by its registered name.

    Raises:
        UserError: unknown name or option, or a value that the loss refuses.
    """
    if name not in LOSSES:
        raise UserError(f"loss {name!r} is unknown; choose from {', '.join(LOSSES)}.{nearest(name, LOSSES)}")
    check_options(f"loss {name!r}", LOSSES[name], options)
    return LOSSES[name](**options)
