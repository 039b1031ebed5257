"""Alarms that stop a training which cannot succeed any more, with advice."""

from __future__ import annotations

import math

from reidlab.errors import UserError

__all__ = ["TrainingStopped", "check_collapse", "check_finite"]

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
