"""Multi-Similarity loss (Wang et al. 2019)."""

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
from reidlab.losses.pairs import Pairs, cosine_similarities, masked_logsumexp, mean_distances, pairs_of

__all__ = ["MultiSimilarityLoss"]


class MultiSimilarityLoss(Loss):
    """mean of log(1 + sum_p exp(alpha (base - s_p))) / alpha + log(1 + sum_n exp(beta (s_n - base))) / beta, cosines s.

    Positives below `base` are pulled and negatives above it pushed, the worst of a row most. With mining (the paper's),
    a row keeps the negatives with s_n + mining_margin > min s_p and the positives with s_p - mining_margin < max s_n;
    what has no counterpart is not kept. The mean is over all rows, kept pairs or not: solved rows count with 0.

    Without a positive a row only pushes, without a negative it only pulls (with mining it does nothing); rows with
    label -1 take no part, and a batch of such rows alone gives 0. The code is ours: pytorch-metric-learning gives the
    same values, but takes a batch of which one positive and one negative pair are left for an empty one.

    Args:
        alpha, beta: steepness for positives and negatives: 2 and 50 in the paper, LightMBN 2 and 40.
        base: cosine that parts positives from negatives: 1 in the paper, 0.5 in its code, LightMBN 0.7.
        mining: leave easy pairs out.
        mining_margin: how much easier than the hardest counterpart a kept pair may be.

    Attributes:
        stats: after a call, active_share (rows in which the sum over positives or over negatives has a slope above
            0.01, of 1 at most), d_ap and d_an (mean Euclidean distances of all positive and negative pairs of
            normalised features, mined or not; 0 where there is none).
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 1.0,
        mining: bool = False,
        mining_margin: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value > 0:
                raise UserError(f"multi_similarity {name}={value} must be above 0.")
        if not -1 <= base <= 1:
            raise UserError(f"multi_similarity base={base} must be a cosine, in [-1, 1].")
        self.alpha, self.beta, self.base, self.mining, self.mining_margin = alpha, beta, base, mining, mining_margin

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss."""
        pairs, known = pairs_of(labels), labels >= 0
        similarities = cosine_similarities(features)
        kept = _mined(similarities.detach(), pairs, self.mining_margin) if self.mining else pairs
        pull = masked_logsumexp(self.alpha * (self.base - similarities), kept.positive)
        push = masked_logsumexp(self.beta * (similarities - self.base), kept.negative)
        with torch.no_grad():
            active = torch.maximum(pull, push) > math.log(ACTIVE / (1 - ACTIVE))
            self.stats = reported(
                active_share=share(active, known), **mean_distances(euclidean_of_cosine(similarities), pairs)
            )
        return mean_where(F.softplus(pull) / self.alpha + F.softplus(push) / self.beta, known)


def _mined(similarities: Tensor, pairs: Pairs, margin: float) -> Pairs:
    worst_positive = similarities.masked_fill(~pairs.positive, torch.inf).amin(1, keepdim=True)
    worst_negative = similarities.masked_fill(~pairs.negative, -torch.inf).amax(1, keepdim=True)
    return Pairs(
        pairs.positive & (similarities - margin < worst_negative),
        pairs.negative & (similarities + margin > worst_positive),
    )
