"""The output of a model in training mode."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

__all__ = ["Branch", "Output", "Siamese"]


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


class Siamese(NamedTuple):
    """The output of a Siamese autoencoder for one training batch; what a model leaves out is None.

    Attributes:
        features: what the autoencoder sees, shared by all terms of the loss [batch, n_in].
        code: [batch, code].
        mean, log_variance: of the distributions that codes were drawn from [batch, code].
        reconstruction: images that the decoder made of the codes, in [0, 1] [batch, 3, height, width].
        pixels: the images, in [0, 1], which it is to make.
        pairs: logits of the pair head for all pairs of the batch, symmetric [batch, batch].
    """

    features: Float[Tensor, "batch n_in"]
    code: Float[Tensor, "batch code"]
    mean: Float[Tensor, "batch code"] | None = None
    log_variance: Float[Tensor, "batch code"] | None = None
    reconstruction: Float[Tensor, "batch 3 height width"] | None = None
    pixels: Float[Tensor, "batch 3 height width"] | None = None
    pairs: Float[Tensor, "batch batch"] | None = None


class Output(NamedTuple):
    """Features of one training batch.

    Attributes:
        before: embeddings before the neck [batch, dim]; ranking losses see these (BNNeck, Luo et al. 2019).
        after: embeddings after the neck [batch, dim]; the classifiers see these. Equal to `before` without a neck.
        logits: one [batch, class] tensor a classifier; empty without identities.
        parts: part embeddings before their necks [batch, part, dim], or None.
        branches: of models with several branches, by name; a loss may ask for some of them. None: one branch.
        siamese: of Siamese autoencoders; None for others.
        gates: of mixtures of experts, how much each counts for each image; None for others.
    """

    before: Float[Tensor, "batch dim"]
    after: Float[Tensor, "batch dim"]
    logits: tuple[Float[Tensor, "batch class"], ...] = ()
    parts: Float[Tensor, "batch part dim"] | None = None
    branches: dict[str, Branch] | None = None
    siamese: Siamese | None = None
    gates: Float[Tensor, "batch expert"] | None = None
