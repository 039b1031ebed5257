"""Supervised contrastive loss (Khosla et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.losses.base import Loss
from reidlab.losses.distance import euclidean_of_cosine
from reidlab.losses.library import library_rows
from reidlab.losses.measures import ACTIVE, mean_where, reported, share, total_variation
from reidlab.losses.pairs import Pairs, cosine_similarities, mean_distances, pairs_of
from reidlab.losses.soft_targets import check_temperature

__all__ = ["SupConLoss"]


class SupConLoss(Loss):
    """mean cross-entropy of softmax(s / temperature) over a row's other images with even shares for its positives.

    s are cosines; this is the paper's L_out. All positives are drawn to be equally near, and all negatives pushed at
    once. Rows without a positive take no part, nor do rows with label -1; a batch without a positive or without a
    negative pair gives 0 with gradient 0. Computed by pytorch-metric-learning.

    Args:
        temperature: 0.1 in the paper; a smaller one looks at near pairs alone.

    Attributes:
        stats: after a call, active_share (rows in which the softmax differs from its goal by more than 0.01 in total
            variation, half the summed difference), d_ap and d_an (mean Euclidean distances of all positive and negative
            pairs of normalised features; 0 where there is none).
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        from pytorch_metric_learning import losses, reducers  # takes a second and more to import

        check_temperature("supcon", temperature)
        self.temperature = temperature
        self._supcon = losses.SupConLoss(temperature, reducer=reducers.DoNothingReducer())

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss."""
        pairs = pairs_of(labels)
        usable = pairs.positive.any(1)
        with torch.no_grad():
            similarities = cosine_similarities(features)
            wrong = _difference(similarities / self.temperature, pairs)
            self.stats = reported(
                active_share=share(wrong > ACTIVE, usable & pairs.negative.any()),
                **mean_distances(euclidean_of_cosine(similarities), pairs),
            )
        return mean_where(library_rows(self._supcon, features, pairs), usable)


def _difference(logits: Tensor, pairs: Pairs) -> Tensor:
    """Return how far the softmax over a row's pairs is from the even share of its positives: [batch]."""
    lowest = torch.finfo(logits.dtype).min
    found = logits.masked_fill(~(pairs.positive | pairs.negative), lowest).softmax(1)
    return total_variation(found, pairs.positive / pairs.positive.sum(1, keepdim=True).clamp(min=1))
