"""Weighted regularised triplet loss of AGW (Ye et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.losses.base import Loss
from reidlab.losses.distance import pairwise_euclidean
from reidlab.losses.measures import mean_where, reported
from reidlab.losses.pairs import pairs_of
from reidlab.losses.triplet import check_margin, gap_loss

__all__ = ["WeightedTripletLoss"]


class WeightedTripletLoss(Loss):
    """mean softplus(d_ap - d_an), where both are means over all positives and all negatives of a row.

    The weights are softmax(d) over positives (the row itself, at distance 0, is one) and softmax(-d) over negatives, so
    far positives and near negatives count most; gradients flow through the weights, as published. The published code
    adds 1e-6 to the sums of exponentials (a relative 6e-7 on the golden values), and scales the negatives' by exp(0)
    instead of their largest: beyond distances of about 14 their weights fade away, which these do not.

    A row without a negative takes no part (a batch of one identity gives 0 with gradient 0), nor do rows with label -1.

    Args:
        soft_margin: softplus, as published; false: the hinge max(0, d_ap - d_an + margin).
        margin: of the hinge.
        normalize: L2-normalise the features first.

    Attributes:
        stats: after a call, active_share (rows whose slope is above 0.01: d_ap - d_an > -4.6; with the hinge rows above
            0), d_ap and d_an (means of the weighted distances).
    """

    def __init__(self, soft_margin: bool = True, margin: float = 0.3, normalize: bool = False) -> None:
        super().__init__()
        check_margin("weighted_triplet", margin)
        self.soft_margin, self.margin, self.normalize = soft_margin, margin, normalize

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss."""
        pairs = pairs_of(labels)
        if self.normalize:
            features = F.normalize(features, dim=1)
        distances = pairwise_euclidean(features, features)
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        d_ap = _weighted(distances, distances, pairs.positive | itself)
        d_an = _weighted(distances, -distances, pairs.negative)
        usable = pairs.negative.any(1)
        value, active = gap_loss(d_ap, d_an, usable, self.margin, self.soft_margin)
        self.stats = reported(active_share=active, d_ap=mean_where(d_ap, usable), d_an=mean_where(d_an, usable))
        return value


def _weighted(distances: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Average each row's distances over the mask by softmax of the scores; finite where the mask is empty."""
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(1)
    return (weights * distances).sum(1)
