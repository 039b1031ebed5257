"""Knowledge distillation: labels and a teacher together (Hinton, Vinyals, Dean 2015)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.cross_entropy import CrossEntropyLoss
from reidlab.losses.kl import KLLoss

__all__ = ["KDLoss"]


class KDLoss(Loss):
    """alpha * cross-entropy(student, labels) + (1 - alpha) * T^2 KL(teacher || student), softened by T.

    Rows with label -1 learn from the teacher alone. No gradient goes to the teacher.

    Args:
        alpha: share of the labels, in [0, 1].
        temperature: T.

    Attributes:
        stats: after a call, cross_entropy and kl (the two parts, without their shares), accuracy, agreement (rows with
            the same top identity as the teacher), and active_share: the larger of the two parts' own (see
            `CrossEntropyLoss` and `KLLoss`), of those whose share is not 0.
    """

    def __init__(self, alpha: float = 0.5, temperature: float = 2.0) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise UserError(f"kd alpha={alpha} must be in [0, 1].")
        self.alpha, self.temperature = alpha, temperature
        self.cross_entropy, self.kl = CrossEntropyLoss(), KLLoss(temperature)

    def forward(
        self,
        student: Float[Tensor, "batch class"],
        teacher: Float[Tensor, "batch class"],
        labels: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of the student's logits [batch, class], the teacher's, and labels [batch] (or -1)."""
        hard, soft = self.cross_entropy(student, labels), self.kl(student, teacher)
        parts = self.cross_entropy.stats, self.kl.stats
        shares = [part["active_share"] for part, weight in zip(parts, (self.alpha, 1 - self.alpha)) if weight]
        self.stats = {
            **parts[0],
            **parts[1],
            "active_share": torch.stack(shares).amax(),
            "cross_entropy": hard.detach(),
            "kl": soft.detach(),
        }
        return self.alpha * hard + (1 - self.alpha) * soft
