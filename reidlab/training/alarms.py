"""Alarms that stop a training which cannot succeed any more, with advice."""

from __future__ import annotations

import math

import torch
from torch import nn

from reidlab.errors import UserError

__all__ = ["TrainingStopped", "check_collapse", "check_finite", "check_weights"]

_COLLAPSED = 0.01  # mean distance of L2-normalised embeddings that are all the same point, for practical purposes


class TrainingStopped(UserError):
    """Training was stopped by an alarm; the last checkpoint before it is kept."""


def check_finite(loss: float, epoch: int, step: int) -> None:
    """Stop on a loss that is NaN or infinite.

    Raises:
        TrainingStopped: with advice.
    """
    if not math.isfinite(loss):
        raise TrainingStopped(
            f"The loss became {loss} in epoch {epoch}, step {step}. Lower the learning rate by 3 to 10 times, "
            f"set clip_norm: 5, or train with precision: float32; then start again."
        )


def check_weights(model: nn.Module, epoch: int) -> None:
    """Stop on weights that are not finite: while training the loss may look well without them.

    Buffers, such as the means of batch normalisation, must not be NaN; some hold infinite numbers on purpose.

    Raises:
        TrainingStopped: with the first one's name, and advice.
    """
    named = [(name, torch.isfinite(weight).all()) for name, weight in model.named_parameters()]
    named += [(name, ~torch.isnan(buffer).any()) for name, buffer in model.named_buffers()]
    whole = torch.stack([flag for _, flag in named]) if named else torch.ones(1, dtype=torch.bool)
    if not bool(whole.all()):
        name = named[int(whole.logical_not().nonzero()[0])][0]
        raise TrainingStopped(
            f"Weights are no longer numbers after epoch {epoch} ({name}), although the loss is finite. Train with "
            f"precision: float32; if they still become NaN, lower the learning rate by 3 to 10 times or set clip_norm: "
            f"5. The checkpoint before this epoch is kept."
        )


def check_collapse(epoch: int, d_ap: float, d_an: float) -> None:
    """Stop when all embeddings have become one point: every distance near 0, the triplet loss stuck at its margin.

    Raises:
        TrainingStopped: with advice.
    """
    if math.isfinite(d_ap) and math.isfinite(d_an) and max(d_ap, d_an) < _COLLAPSED:
        raise TrainingStopped(
            f"The embeddings collapsed to one point in epoch {epoch} (mean distances: same identity {d_ap:.4f}, "
            f"other identity {d_an:.4f}). Lower the learning rate, train with cross_entropy beside the triplet term, "
            f"or use soft_margin: true."
        )
