"""Circle loss over pairs (Sun et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.distance import euclidean_of_cosine
from reidlab.losses.library import library_rows
from reidlab.losses.measures import ACTIVE, mean_where, reported, share
from reidlab.losses.pairs import cosine_similarities, mean_distances, pairs_of
from reidlab.losses.triplet import check_margin

__all__ = ["CircleLoss"]


class CircleLoss(Loss):
    """mean softplus(LSE_p(-gamma a_p (s_p - 1 + margin)) + LSE_n(gamma a_n (s_n - margin))) over cosines s.

    LSE_p and LSE_n are log sum exp over a row's positives and negatives. The weights a_p = max(0, 1 + margin - s_p) and
    a_n = max(0, s_n + margin), which get no gradient, make a pair pull or push the more the farther it is from its
    goal. Rows without a positive or without a negative take no part (a batch without such rows gives 0 with gradient
    0), and so do rows with label -1. Computed by pytorch-metric-learning.

    Args:
        margin: 0.25 in the paper's re-identification experiments and fast-reid.
        gamma: scale, 128 there.

    Attributes:
        stats: after a call, active_share (rows whose softplus has a slope above 0.01), d_ap and d_an (mean Euclidean
            distances of all positive and negative pairs of normalised features; 0 where there is none).
    """

    def __init__(self, margin: float = 0.25, gamma: float = 128.0) -> None:
        super().__init__()
        from pytorch_metric_learning import losses, reducers  # takes a second and more to import

        check_margin("circle", margin)
        if not gamma > 0:
            raise UserError(f"circle gamma={gamma} must be above 0.")
        self.margin, self.gamma = margin, gamma
        self._circle = losses.CircleLoss(margin, gamma, reducer=reducers.DoNothingReducer())

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss."""
        pairs = pairs_of(labels)
        rows = library_rows(self._circle, features, pairs)
        with torch.no_grad():
            distances = euclidean_of_cosine(cosine_similarities(features))
            slope = -torch.expm1(-rows)  # of softplus, from its value
            self.stats = reported(active_share=share(slope > ACTIVE, pairs.usable), **mean_distances(distances, pairs))
        return mean_where(rows, pairs.usable)
