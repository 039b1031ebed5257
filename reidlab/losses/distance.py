"""Pairwise distances with gradients that stay finite at zero."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["euclidean_of_cosine", "pairwise_euclidean"]


def pairwise_euclidean(
    a: Float[Tensor, "a dim"], b: Float[Tensor, "b dim"], *, floor: float = 1e-12
) -> Float[Tensor, "a b"]:
    """Euclidean distances [a, b] of rows; squared distances are clamped at `floor` before the root.

    Written without torch.cdist, whose backward pass some devices lack.
    """
    squares = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
    return torch.sqrt(squares.clamp(min=floor))


def euclidean_of_cosine(similarities: Float[Tensor, "a b"]) -> Float[Tensor, "a b"]:
    """Euclidean distances of unit vectors with these cosines: the root of 2 - 2s."""
    return torch.sqrt((2 - 2 * similarities).clamp(min=1e-12))
