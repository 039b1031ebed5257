"""Batch-hard triplet loss (Hermans, Beyer, Leibe 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.losses.distance import pairwise_euclidean

__all__ = ["TripletLoss", "batch_hard"]


def batch_hard(distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give each row's hardest positive and negative distance and which rows have a negative.

    The row itself counts as a positive at distance 0, as in the published baselines, so an identity with one image in
    the batch has d_ap = 0.

    Args:
        distances: [batch, batch].
        labels: [batch].
    """
    same = labels[:, None] == labels[None]
    d_ap = distances.masked_fill(~same, -torch.inf).amax(1)
    d_an = distances.masked_fill(same, torch.inf).amin(1)
    return d_ap, d_an, (~same).any(1)


class TripletLoss(nn.Module):
    """mean max(0, d_ap - d_an + margin) over rows, or softplus(d_ap - d_an) with soft_margin.

    Args:
        margin: 0.3 in the strong baselines; not used with soft_margin.
        soft_margin: use softplus.
        normalize: L2-normalise the features first.

    Attributes:
        stats: after a call, active_share (rows whose hinge is above 0; with the soft margin rows with d_ap > d_an),
            d_ap and d_an (means).
    """

    def __init__(self, margin: float = 0.3, soft_margin: bool = False, normalize: bool = False) -> None:
        super().__init__()
        if not margin >= 0:
            raise UserError(f"triplet margin={margin} must be 0 or more.")
        self.margin, self.soft_margin, self.normalize = margin, soft_margin, normalize
        self.stats: dict[str, Tensor] = {}

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Give the scalar loss of features [batch, dim] with labels [batch]."""
        if self.normalize:
            features = F.normalize(features, dim=1)
        d_ap, d_an, usable = batch_hard(pairwise_euclidean(features, features), labels)
        d_ap, d_an = d_ap[usable], d_an[usable]
        if not len(d_ap):
            raise UserError("triplet needs two identities in a batch; this one has one. Raise `identities`.")
        gap = d_ap - d_an
        active = gap > 0 if self.soft_margin else gap + self.margin > 0
        self.stats = {
            "active_share": active.float().mean(),
            "d_ap": d_ap.detach().mean(),
            "d_an": d_an.detach().mean(),
        }
        return F.softplus(gap).mean() if self.soft_margin else (gap + self.margin).clamp(min=0).mean()
