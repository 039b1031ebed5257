"""Relational distillation: the student's batch looks like the teacher's (Park et al. 2019; Tung and Mori 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from reidlab.losses.base import Loss
from reidlab.losses.distance import euclidean_of_cosine
from reidlab.losses.measures import ACTIVE, mean_where, reported, share
from reidlab.losses.pairs import cosine_similarities
from reidlab.losses.soft_targets import check_pair

__all__ = ["RelationalKDLoss"]


class RelationalKDLoss(Loss):
    """mean squared difference of the two matrices of cosines [batch, batch], diagonals (which agree) counted.

    Student and teacher may have embeddings of different sizes; no labels are needed. No gradient goes to the teacher.

    Attributes:
        stats: after a call, active_share (pairs of different rows whose cosines differ by more than 0.01), d_student
            and d_teacher (mean Euclidean distances of normalised features over all pairs of different rows).
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self, student: Float[Tensor, "batch dim"], teacher: Float[Tensor, "batch teacher_dim"]
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of the student's features [batch, dim] and the teacher's [batch, any dim]."""
        check_pair("relational_kd", student, teacher, same_width=False)
        found, wanted = cosine_similarities(student), cosine_similarities(teacher.detach())
        with torch.no_grad():
            others = ~torch.eye(len(found), dtype=torch.bool, device=found.device)
            self.stats = reported(
                active_share=share((found - wanted).abs() > ACTIVE, others),
                d_student=mean_where(euclidean_of_cosine(found), others),
                d_teacher=mean_where(euclidean_of_cosine(wanted), others),
            )
        return F.mse_loss(found, wanted)
