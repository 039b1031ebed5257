"""Batch-hard triplet loss (Hermans, Beyer, Leibe 2017)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reidlab.errors import UserError, nearest
from reidlab.losses.base import Loss
from reidlab.losses.distance import pairwise_euclidean
from reidlab.losses.measures import ACTIVE, mean_where, reported, share
from reidlab.losses.pairs import cosine_similarities, pairs_of

__all__ = ["DISTANCES", "TripletLoss", "batch_hard", "check_margin", "gap_loss"]

DISTANCES = ("euclidean", "cosine")


def batch_hard(
    distances: Float[Tensor, "batch batch"], labels: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Return each row's hardest positive and negative distance and which rows have a negative.

    The row itself counts as a positive at distance 0, as in the published baselines, so an identity with one image in
    the batch has d_ap = 0.

    Args:
        distances: [batch, batch].
        labels: [batch]; -1 is in no pair.
    """
    pairs = pairs_of(labels)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    d_ap = distances.masked_fill(~(pairs.positive | itself), -torch.inf).amax(1)
    d_an = distances.masked_fill(~pairs.negative, torch.inf).amin(1)
    return d_ap, d_an, pairs.negative.any(1)


def gap_loss(d_ap: Tensor, d_an: Tensor, usable: Tensor, margin: float, soft: bool) -> tuple[Tensor, Tensor]:
    """Return the mean max(0, d_ap - d_an + margin), or softplus(d_ap - d_an), over usable rows, and the share active.

    Active is a row whose hinge is above 0; with softplus one whose slope is above 0.01 (d_ap - d_an > -4.6).
    """
    gap = torch.where(usable, d_ap - d_an, 0.0)
    if soft:
        return mean_where(F.softplus(gap), usable), share(gap > math.log(ACTIVE / (1 - ACTIVE)), usable)
    hinge = gap + margin
    return mean_where(hinge.clamp(min=0), usable), share(hinge > 0, usable)


def check_margin(loss: str, margin: float) -> None:
    """Refuse a negative margin.

    Raises:
        UserError: naming the loss.
    """
    if not margin >= 0:
        raise UserError(f"{loss} margin={margin} must be 0 or more.")


class TripletLoss(Loss):
    """mean max(0, d_ap - d_an + margin) over rows, or softplus(d_ap - d_an) with soft_margin.

    d_ap and d_an are the distances to the farthest image of the same identity and the nearest of another one. A row
    without a negative takes no part: a batch of one identity gives 0 with gradient 0 (and active_share 0), and so do
    rows with label -1. Where all features are one point, the gradient is 0.

    Args:
        margin: 0.3 in the strong baselines; not used with soft_margin.
        soft_margin: use softplus.
        normalize: L2-normalise the features first.
        distance: "euclidean", or "cosine": 2 - 2s, the squared Euclidean distance of normalised features.

    Attributes:
        stats: after a call, active_share (rows whose hinge is above 0; with the soft margin rows whose slope is above
            0.01: d_ap - d_an > -4.6), d_ap and d_an (means; Euclidean with either distance).
    """

    def __init__(
        self, margin: float = 0.3, soft_margin: bool = False, normalize: bool = False, distance: str = "euclidean"
    ) -> None:
        super().__init__()
        check_margin("triplet", margin)
        if distance not in DISTANCES:
            hint = nearest(distance, DISTANCES)
            raise UserError(f"triplet distance={distance!r} is unknown; choose euclidean or cosine.{hint}")
        self.margin, self.soft_margin, self.normalize, self.distance = margin, soft_margin, normalize, distance

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss."""
        d_ap, d_an, usable = batch_hard(self._distances(features), labels)
        value, active = gap_loss(d_ap, d_an, usable, self.margin, self.soft_margin)
        with torch.no_grad():
            if self.distance == "cosine":
                d_ap, d_an = d_ap.clamp(min=0).sqrt(), d_an.clamp(min=0).sqrt()
            self.stats = reported(active_share=active, d_ap=mean_where(d_ap, usable), d_an=mean_where(d_an, usable))
        return value

    def _distances(self, features: Tensor) -> Tensor:
        if self.distance == "cosine":
            return 2 - 2 * cosine_similarities(features)
        if self.normalize:
            features = F.normalize(features, dim=1)
        return pairwise_euclidean(features, features)
