"""The output of a model in training mode."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

__all__ = ["Branch", "Output"]


class Branch(NamedTuple):
    """Features of one branch of a model for one training batch.

    Attributes:
        before: before the neck [batch, dim].
        after: after the neck [batch, dim].
        logits: of the branch's classifier [batch, class], or None.
    """

    before: Float[Tensor, "batch dim"]
    after: Float[Tensor, "batch dim"]
    logits: Float[Tensor, "batch class"] | None = None


class Output(NamedTuple):
    """Features of one training batch.

    Attributes:
        before: embeddings before the neck [batch, dim]; ranking losses see these (BNNeck, Luo et al. 2019).
        after: embeddings after the neck [batch, dim]; the classifiers see these. Equal to `before` without a neck.
        logits: one [batch, class] tensor a classifier; empty without identities.
        parts: part embeddings before their necks [batch, part, dim], or None.
        branches: of models with several branches, by name; a loss may ask for some of them. None: one branch.
    """

    before: Float[Tensor, "batch dim"]
    after: Float[Tensor, "batch dim"]
    logits: tuple[Float[Tensor, "batch class"], ...] = ()
    parts: Float[Tensor, "batch part dim"] | None = None
    branches: dict[str, Branch] | None = None
