"""Focal loss over identities (Lin et al. 2017), in its softmax form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.measures import ACTIVE, mean_where, reported, share
from reidlab.losses.pairs import within_classes

__all__ = ["FocalLoss"]


class FocalLoss(Loss):
    """mean of -alpha * (1 - p)^gamma * log p, p the softmax of the right identity: rows that are right count less.

    alpha scales the whole loss (one class against all others, where it balances, does not exist here); gamma 0 and
    alpha 1 give cross-entropy. Rows with label -1 take no part; a batch of such rows alone gives 0. (torchvision's
    `sigmoid_focal_loss` asks a yes or no of each class, which is another loss.)

    Args:
        gamma: 0 or more.
        alpha: above 0.

    Attributes:
        stats: after a call, accuracy and active_share (rows whose gradient of the right logit is above 0.01 alpha; the
            largest for gamma = 0 is alpha).
    """

    def __init__(self, gamma: float = 1.5, alpha: float = 0.25) -> None:
        super().__init__()
        if not gamma >= 0:
            raise UserError(f"focal gamma={gamma} must be 0 or more.")
        if not alpha > 0:
            raise UserError(f"focal alpha={alpha} must be above 0.")
        self.gamma, self.alpha = gamma, alpha

    def forward(self, features: Float[Tensor, "batch class"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss of logits [batch, class] with labels [batch] in 0..class-1, or -1.

        Raises:
            UserError: a label beyond the classes.
        """
        known = labels >= 0
        with within_classes(features.shape[1]):  # -log p
            surprise = F.cross_entropy(features, labels.clamp(min=-1), ignore_index=-1, reduction="none")
        # 1 - p, to the last digit where p is near 1; at 0 its power has no finite slope for gamma < 1
        missing = -torch.expm1(-surprise)
        weight = missing.clamp(min=torch.finfo(missing.dtype).tiny) ** self.gamma
        with torch.no_grad():
            slope = weight * (missing + self.gamma * torch.exp(-surprise) * surprise)  # of the right logit, over alpha
            self.stats = reported(
                accuracy=mean_where((features.argmax(1) == labels).to(features.dtype), known),
                active_share=share(slope > ACTIVE, known),
            )
        return self.alpha * mean_where(weight * surprise, known)
