"""Contrastive loss (Hadsell, Chopra, LeCun 2006), without the squares."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.distance import pairwise_euclidean
from reidlab.losses.measures import mean_where, reported
from reidlab.losses.pairs import mean_distances, pairs_of

__all__ = ["ContrastiveLoss"]

_TOUCHING = 2e-6  # pairwise_euclidean never goes below 1e-6: such points are one, and nothing can pull them


class ContrastiveLoss(Loss):
    """Pull positives nearer than positive_margin, push negatives farther than margin; the rest is left alone.

    The mean of max(0, d - positive_margin) over the positive pairs where it is above 0, and that of max(0, margin - d)
    over the negative pairs where it is above 0, added; either is 0 where there is no such pair. Rows with label -1 are
    in no pair. Values are those of pytorch-metric-learning, which computes distances with torch.cdist: on Apple's GPU
    that has no backward pass.

    Args:
        margin: for negatives.
        positive_margin: for positives, less than margin.
        normalize: L2-normalise the features first.

    Attributes:
        stats: after a call, active_share (of all pairs, those that pull or push), d_ap and d_an (mean distances of all
            positive and negative pairs; 0 where there is none).
    """

    def __init__(self, margin: float = 1.0, positive_margin: float = 0.0, normalize: bool = True) -> None:
        super().__init__()
        if not 0 <= positive_margin < margin:
            raise UserError(
                f"contrastive margin={margin} must be above positive_margin={positive_margin}, and that 0 or more."
            )
        self.margin, self.positive_margin, self.normalize = margin, positive_margin, normalize

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss."""
        pairs = pairs_of(labels)
        if self.normalize:
            features = F.normalize(features, dim=1)
        distances = pairwise_euclidean(features, features)
        pulled = pairs.positive & (distances > max(self.positive_margin, _TOUCHING))
        pushed = pairs.negative & (distances < self.margin)
        n_pairs = (pairs.positive | pairs.negative).sum().clamp(min=1)
        self.stats = reported(active_share=(pulled | pushed).sum() / n_pairs, **mean_distances(distances, pairs))
        return mean_where(distances - self.positive_margin, pulled) + mean_where(self.margin - distances, pushed)
