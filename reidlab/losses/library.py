"""The losses of pytorch-metric-learning, row by row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reidlab.losses.pairs import Pairs

__all__ = ["library_rows"]


def library_rows(loss: Any, features: Tensor, pairs: Pairs) -> Tensor:
    """Return the terms [batch] of a loss over the pairs; zeros with gradient zero where it finds nothing to do.

    The library's own reduction averages the rows above 0 alone, which drops rows that are solved: the mean would jump
    up whenever one more is. So it is not used.

    Args:
        loss: a pair loss of the library, made with `reducer=DoNothingReducer()`.
        features: [batch, dim].
        pairs: of the batch.
    """
    indices = (*torch.where(pairs.positive), *torch.where(pairs.negative))
    rows = loss(features, indices_tuple=indices)["loss"]["losses"]
    if not isinstance(rows, Tensor):  # it answers 0 to a batch without pairs
        return features.sum(1) * 0
    return rows.reshape(-1)
