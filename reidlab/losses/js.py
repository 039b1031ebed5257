"""Distillation by a divergence that treats student and teacher alike."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reidlab.losses.base import Loss
from reidlab.losses.measures import ACTIVE, reported, total_variation
from reidlab.losses.soft_targets import check_pair, check_temperature, divergence

__all__ = ["JSLoss"]


class JSLoss(Loss):
    """T^2 (KL(student || teacher) + KL(teacher || student)) / 2 of softened outputs, the mean over rows.

    That is what re-identification code calls JSDiv, and what the golden value is of; it has no upper bound. The
    Jensen-Shannon divergence proper (Lin 1991) compares both with their mixture M, (KL(s || M) + KL(t || M)) / 2, and
    is at most log 2 (times T^2): mixture=True. No labels are needed. No gradient goes to the teacher.

    Args:
        temperature: T.
        mixture: the divergence proper.

    Attributes:
        stats: after a call, active_share (rows in which the two softened distributions differ by more than 0.01 in
            total variation, half the summed difference) and agreement (rows with the same top identity).
    """

    def __init__(self, temperature: float = 16.0, mixture: bool = False) -> None:
        super().__init__()
        check_temperature("js", temperature)
        self.temperature, self.mixture = temperature, mixture

    def forward(
        self, student: Float[Tensor, "batch class"], teacher: Float[Tensor, "batch class"]
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of the student's logits [batch, class] and the teacher's."""
        check_pair("js", student, teacher)
        teacher = teacher.detach()
        one = (student / self.temperature).log_softmax(1)
        two = (teacher / self.temperature).log_softmax(1)
        with torch.no_grad():
            self.stats = reported(
                active_share=(total_variation(one.exp(), two.exp()) > ACTIVE).float().mean(),
                agreement=(student.argmax(1) == teacher.argmax(1)).float().mean(),
            )
        if self.mixture:
            middle = torch.logaddexp(one, two) - math.log(2)
            both = divergence(middle, one) + divergence(middle, two)
        else:
            both = divergence(one, two) + divergence(two, one)
        return self.temperature**2 * both / 2
