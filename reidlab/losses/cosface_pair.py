"""CosFace over pairs (fast-reid's form of Wang et al. 2018)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.distance import euclidean_of_cosine
from reidlab.losses.measures import ACTIVE, mean_where, reported, share
from reidlab.losses.pairs import cosine_similarities, masked_logsumexp, mean_distances, pairs_of
from reidlab.losses.triplet import check_margin

__all__ = ["CosFacePairLoss"]


class CosFacePairLoss(Loss):
    """mean softplus(LSE_p(-gamma s_p) + LSE_n(gamma (s_n + margin))) over cosines s.

    LSE_p and LSE_n are log sum exp over a row's positives and negatives: nearly gamma max(0, s_n - s_p + margin) of the
    farthest positive and the nearest negative. Rows without a positive or without a negative take no part (a batch
    without such rows gives 0 with gradient 0), and so do rows with label -1.

    Args:
        margin: between the cosines of positives and negatives.
        gamma: scale.

    Attributes:
        stats: after a call, active_share (rows whose softplus has a slope above 0.01), d_ap and d_an (mean Euclidean
            distances of all positive and negative pairs of normalised features; 0 where there is none).
    """

    def __init__(self, margin: float = 0.3, gamma: float = 128.0) -> None:
        super().__init__()
        check_margin("cosface_pair", margin)
        if not gamma > 0:
            raise UserError(f"cosface_pair gamma={gamma} must be above 0.")
        self.margin, self.gamma = margin, gamma

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss."""
        pairs = pairs_of(labels)
        similarities = cosine_similarities(features)
        pull = masked_logsumexp(-self.gamma * similarities, pairs.positive)
        push = masked_logsumexp(self.gamma * (similarities + self.margin), pairs.negative)
        with torch.no_grad():
            active = pull + push > math.log(ACTIVE / (1 - ACTIVE))
            self.stats = reported(
                active_share=share(active, pairs.usable), **mean_distances(euclidean_of_cosine(similarities), pairs)
            )
        return mean_where(F.softplus(pull + push), pairs.usable)
