"""NT-Xent: the normalised temperature-scaled cross-entropy (Chen et al. 2020, SimCLR) with identities for labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.losses.base import Loss
from reidlab.losses.distance import euclidean_of_cosine
from reidlab.losses.measures import ACTIVE, mean_where, reported, share
from reidlab.losses.pairs import cosine_similarities, masked_logsumexp, mean_distances, pairs_of
from reidlab.losses.soft_targets import check_temperature

__all__ = ["NTXentLoss"]


class NTXentLoss(Loss):
    """mean over positive pairs (a, p) of -log(e_ap / (e_ap + sum_n e_an)), e = exp(cosine / temperature).

    Unlike SupCon the other positives of the row are not in the denominator, so positives do not compete. Pairs of rows
    without a negative take no part, nor do rows with label -1; a batch without a positive or without a negative pair
    gives 0 with gradient 0.

    Written as softplus(LSE_n - s_ap): the values of pytorch-metric-learning, whose table of positive pairs x negative
    pairs takes 0.9 GB for 16 identities x 16 images; this takes images x images.

    Args:
        temperature: 0.07 is the library's default, 0.1 to 0.5 the paper's.

    Attributes:
        stats: after a call, active_share (positive pairs whose softplus has a slope above 0.01), d_ap and d_an (mean
            Euclidean distances of all positive and negative pairs of normalised features; 0 where there is none).
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        check_temperature("ntxent", temperature)
        self.temperature = temperature

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss."""
        pairs = pairs_of(labels)
        similarities = cosine_similarities(features)
        logits = similarities / self.temperature
        behind = masked_logsumexp(logits, pairs.negative)[:, None] - logits
        usable = pairs.positive & pairs.negative.any(1, keepdim=True)
        with torch.no_grad():
            self.stats = reported(
                active_share=share(behind.sigmoid() > ACTIVE, usable),
                **mean_distances(euclidean_of_cosine(similarities), pairs),
            )
        return mean_where(F.softplus(behind), usable)
