"""Classifiers of pairs: whether two codes show one person. Every score is the same whichever of the two comes first."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.parts.build import build_part
from reidlab.registry import PAIR_HEADS

__all__ = ["PAIR_HEADS", "ConcatenatedPairs", "DifferencePairs", "build_pair_head"]

_BLOCK = 4096  # pairs scored at once where many are


def build_pair_head(name: str, code: int, **options: Any) -> nn.Module:
    """Return a classifier of pairs of codes [pair, code] by its registered name.

    Raises:
        UserError: unknown name or option, or a value that it refuses.
    """
    return build_part(PAIR_HEADS, name, {"code": code}, options)


class _PairHead(nn.Module):
    """Linear layers that halve the width down to one logit, with ReLU between.

    Args:
        n_in: width of what describes a pair.
        widths: of the layers in between.
    """

    def __init__(self, n_in: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if min(widths, default=1) < 1:
            raise UserError(f"a pair head needs layers of 1 or more numbers; got {', '.join(map(str, widths))}.")
        sizes = (n_in, *widths)
        layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU(inplace=True))]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def among(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch batch"]:
        """Return the logits of all pairs of a batch [batch, batch]; the diagonal, each image with itself, is 0."""
        n = len(codes)
        one, two = torch.triu_indices(n, n, 1, device=codes.device)
        logits = torch.cat([self(codes[i], codes[j]) for i, j in zip(one.split(_BLOCK), two.split(_BLOCK))])
        whole = logits.new_zeros(n, n)
        whole[one, two] = logits
        return whole + whole.T


class ConcatenatedPairs(_PairHead):
    """The published head: both codes side by side, 1,456 -> 728 -> 364 -> 182 -> 1; 1,392,665 parameters for 728.

    It sees each pair in both orders and takes the mean of the two logits; the published one gives another score for
    (b, a) than for (a, b).

    Args:
        code: width of a code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(2 * code, (code, code // 2, code // 4))

    def forward(self, one: Float[Tensor, "pair code"], two: Float[Tensor, "pair code"]) -> Float[Tensor, " pair"]:
        """Return logits [pair]: above 0 for one person."""
        ordered = self.layers(torch.cat([one, two], 1)) + self.layers(torch.cat([two, one], 1))
        return ordered.squeeze(1) / 2


class DifferencePairs(_PairHead):
    """The absolute difference and the product of both codes, which are the same in either order: half the work.

    Args:
        code: width of a code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(2 * code, (code, code // 2, code // 4))

    def forward(self, one: Float[Tensor, "pair code"], two: Float[Tensor, "pair code"]) -> Float[Tensor, " pair"]:
        """Return logits [pair]: above 0 for one person."""
        return self.layers(torch.cat([(one - two).abs(), one * two], 1)).squeeze(1)
