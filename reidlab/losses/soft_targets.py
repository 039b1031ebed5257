"""What the losses share that compare two distributions: temperature, shapes, Kullback-Leibler divergence."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from reidlab.errors import UserError

__all__ = ["check_pair", "check_temperature", "divergence"]


def check_temperature(loss: str, temperature: float) -> None:
    """Refuse a temperature that is not above 0.

    Raises:
        UserError: naming the loss.
    """
    if not temperature > 0:
        raise UserError(f"{loss} temperature={temperature} must be above 0.")


def check_pair(loss: str, student: Tensor, teacher: Tensor, *, same_width: bool = True) -> None:
    """Refuse a teacher's output that does not belong to the student's.

    Raises:
        UserError: naming the loss and the shapes.
    """
    fits = student.ndim == teacher.ndim == 2 and student.shape[0] == teacher.shape[0]
    if not fits or (same_width and student.shape != teacher.shape):
        what = "logits [batch, class], the same classes" if same_width else "features [batch, dim], the same rows"
        shapes = f"{list(student.shape)} and {list(teacher.shape)}"
        raise UserError(f"{loss} takes the student's and the teacher's {what}; got {shapes}.")


def divergence(log_found: Float[Tensor, "batch class"], log_wanted: Float[Tensor, "batch class"]) -> Float[Tensor, ""]:
    """Return KL(wanted || found), the mean over rows, of log-probabilities [batch, class]."""
    return F.kl_div(log_found, log_wanted, reduction="batchmean", log_target=True)
