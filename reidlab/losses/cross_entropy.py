"""Cross-entropy over identities with label smoothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.errors import UserError

__all__ = ["CrossEntropyLoss"]


class CrossEntropyLoss(nn.Module):
    """Cross-entropy of logits with q = (1 - eps) * one_hot + eps / C (Szegedy et al. 2016; the BoT convention).

    Args:
        label_smoothing: eps in [0, 1); 0.1 in the strong baselines.

    Attributes:
        stats: after a call, accuracy on the training identities (no retrieval figure).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(f"cross_entropy label_smoothing={label_smoothing} must be in [0, 1).")
        self.label_smoothing = label_smoothing
        self.stats: dict[str, Tensor] = {}

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Give the scalar loss of logits [batch, class] with labels [batch] in 0..class-1."""
        with torch.no_grad():
            self.stats = {"accuracy": (features.argmax(1) == labels).float().mean()}
        return F.cross_entropy(features, labels, label_smoothing=self.label_smoothing)
