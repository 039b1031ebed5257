"""The pairs of a batch: which rows belong together, and how far apart they are.

A label below 0 means that the identity is unknown: such a row is in no pair, neither positive nor negative.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.measures import mean_where

__all__ = [
    "Pairs",
    "check_batch",
    "cosine_similarities",
    "masked_logsumexp",
    "mean_distances",
    "pairs_of",
    "within_classes",
]


class Pairs(NamedTuple):
    """Masks over the pairs of a batch, bool [batch, batch].

    Attributes:
        positive: the same identity, and not the row itself.
        negative: another identity.
    """

    positive: Bool[Tensor, "batch batch"]
    negative: Bool[Tensor, "batch batch"]

    @property
    def usable(self) -> Bool[Tensor, " batch"]:
        """Return which rows have a positive and a negative: bool [batch]."""
        return self.positive.any(1) & self.negative.any(1)


def check_batch(features: Tensor, labels: Tensor) -> None:
    """Refuse features and labels that do not belong together.

    Raises:
        UserError: features are not [batch, dim] or labels not [batch].
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        shapes = f"{list(features.shape)} and {list(labels.shape)}"
        raise UserError(f"A loss takes features [batch, dim] and labels [batch]; got {shapes}.")


@contextmanager
def within_classes(n_classes: int) -> Iterator[None]:
    """Return which labels there may be where torch finds one beyond them inside this block (on the CPU; a GPU stops).

    Raises:
        UserError: a label is `n_classes` or more.
    """
    try:
        yield
    except IndexError as error:
        raise UserError(f"Labels are 0 to {n_classes - 1} for {n_classes} classes, or -1 ({error}).") from error


def pairs_of(labels: Int[Tensor, " batch"]) -> Pairs:
    """Find the positive and negative pairs of a batch."""
    known = labels >= 0
    both = known[:, None] & known[None]
    same = labels[:, None] == labels[None]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return Pairs(same & both & ~itself, ~same & both)


def cosine_similarities(features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch batch"]:
    """Return the cosines [batch, batch] of all pairs of rows."""
    unit = F.normalize(features, dim=1)
    return unit @ unit.T


def masked_logsumexp(
    values: Float[Tensor, "batch batch"], mask: Bool[Tensor, "batch batch"]
) -> Float[Tensor, " batch"]:
    """Return log sum exp over the values of each row where the mask is true: [batch, batch] -> [batch].

    A row without any gets a number near the smallest there is (softplus of it is 0) and no gradient, never NaN.
    """
    lowest = torch.finfo(values.dtype).min / 4  # the sum of two of them is finite still
    return torch.logsumexp(values.masked_fill(~mask, lowest), dim=1)


def mean_distances(distances: Float[Tensor, "batch batch"], pairs: Pairs) -> dict[str, Float[Tensor, ""]]:
    """Return d_ap and d_an, the mean Euclidean distances of all positive and all negative pairs; 0 where there is none.

    Args:
        distances: Euclidean [batch, batch].
        pairs: of the batch.
    """
    return {
        "d_ap": mean_where(distances.detach(), pairs.positive),
        "d_an": mean_where(distances.detach(), pairs.negative),
    }
