"""What losses report, and means over masks: no branch on data, so that a GPU never waits and torch.compile keeps whole.

Active share, in every loss: the share of rows (or pairs) whose gradient is not zero. A hinge has an exact zero. The
gradient of a smooth loss only comes near it: below `ACTIVE` of the largest that a row can get it counts as zero.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["ACTIVE", "mean_where", "reported", "share", "total_variation"]

ACTIVE = 0.01


def mean_where(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Average the values where the mask is true; 0, with gradient 0, where it is true nowhere."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def share(chosen: Bool[Tensor, "*shape"], among: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the share of `chosen` in `among` (bool, same shape), from 0 to 1; 0 where nothing is among."""
    return (chosen & among).sum() / among.sum().clamp(min=1)


def total_variation(p: Float[Tensor, "batch class"], q: Float[Tensor, "batch class"]) -> Float[Tensor, " batch"]:
    """Return half the summed absolute difference of distributions [batch, class]: [batch], from 0 to 1."""
    return (p - q).abs().sum(1) / 2


def reported(**figures: Tensor) -> dict[str, Tensor]:
    """Return a loss's stats: scalars without a graph."""
    return {name: figure.detach() for name, figure in figures.items()}
