"""Distillation by the Kullback-Leibler divergence of softened outputs (Hinton, Vinyals, Dean 2015)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reidlab.losses.base import Loss
from reidlab.losses.measures import ACTIVE, reported, total_variation
from reidlab.losses.soft_targets import check_pair, check_temperature, divergence

__all__ = ["KLLoss"]


class KLLoss(Loss):
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over rows; T^2 keeps the gradient's size.

    No labels are needed. No gradient goes to the teacher.

    Args:
        temperature: T.

    Attributes:
        stats: after a call, active_share (rows in which the two softened distributions differ by more than 0.01 in
            total variation, half the summed difference) and agreement (rows with the same top identity).
    """

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        check_temperature("kl", temperature)
        self.temperature = temperature

    def forward(
        self, student: Float[Tensor, "batch class"], teacher: Float[Tensor, "batch class"]
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of the student's logits [batch, class] and the teacher's."""
        check_pair("kl", student, teacher)
        teacher = teacher.detach()
        found = (student / self.temperature).log_softmax(1)
        wanted = (teacher / self.temperature).log_softmax(1)
        with torch.no_grad():
            self.stats = reported(
                active_share=(total_variation(found.exp(), wanted.exp()) > ACTIVE).float().mean(),
                agreement=(student.argmax(1) == teacher.argmax(1)).float().mean(),
            )
        return self.temperature**2 * divergence(found, wanted)
