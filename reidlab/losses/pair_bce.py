"""Binary cross-entropy of pairs: the same person or not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.measures import ACTIVE, mean_where, reported, share

__all__ = ["PairBCELoss"]


class PairBCELoss(Loss):
    """Cross-entropy of all pairs of a batch, the mean over pairs of one person plus that over pairs of two.

    So both kinds weigh the same, however many there are. No image is compared with itself, which the published code
    counts as a pair of one person.

    Attributes:
        stats: after a call, active_share (pairs whose score is more than 0.01 from the truth) and pair_accuracy (the
            mean of the accuracies on both kinds at a score of 0.5).
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, pair_logits: Float[Tensor, "batch batch"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss of symmetric logits [batch, batch] and labels [batch]; -1 is in no pair.

        Raises:
            UserError: logits that are no square of the labels' number.
        """
        n = len(labels)
        if pair_logits.shape != (n, n):
            raise UserError(
                f"pair_bce takes logits [batch, batch] and labels [batch]; got {list(pair_logits.shape)} and [{n}]."
            )
        known = labels >= 0
        pairs = (known[:, None] & known[None]).triu(1)
        same = labels[:, None] == labels[None]
        loss = F.binary_cross_entropy_with_logits(pair_logits, same.to(pair_logits.dtype), reduction="none")
        with torch.no_grad():
            score, right = pair_logits.sigmoid(), (pair_logits > 0) == same
            accuracies = [mean_where(right.float(), pairs & kind) for kind in (same, ~same)]
            self.stats = reported(
                active_share=share((score - same.float()).abs() > ACTIVE, pairs),
                pair_accuracy=torch.stack(accuracies).mean(),
            )
        return mean_where(loss, pairs & same) + mean_where(loss, pairs & ~same)
