"""What keeps the codes of a variational autoencoder near a standard normal distribution."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.measures import ACTIVE, reported

__all__ = ["VAEKLLoss"]


class VAEKLLoss(Loss):
    """-1/2 sum(1 + log s^2 - m^2 - s^2) per image, averaged over the batch (Kingma and Welling 2014).

    The weight of the term in the recipe is beta (Higgins et al. 2017, "beta-VAE").

    Args:
        free_bits: nats per number of the code that cost nothing (Kingma et al. 2016): a number whose mean divergence
            over the batch is less has no gradient, so that codes are not all pulled to 0.

    Attributes:
        stats: after a call, active_share (numbers of the code whose mean divergence is above 0.01 nats: those in use)
            and kl_nats (the mean divergence of an image, free bits included).
    """

    def __init__(self, free_bits: float = 0.0) -> None:
        super().__init__()
        if not 0 <= free_bits <= 100:
            raise UserError(f"vae_kl free_bits={free_bits} is outside [0, 100] nats.")
        self.free_bits = free_bits

    def forward(
        self, mean: Float[Tensor, "batch code"], log_variance: Float[Tensor, "batch code"]
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of means and logarithms of variances [batch, code].

        Raises:
            UserError: their shapes differ.
        """
        if mean.shape != log_variance.shape or mean.ndim != 2:
            raise UserError(
                f"vae_kl takes means and log variances [batch, code]; got {list(mean.shape)} and "
                f"{list(log_variance.shape)}."
            )
        each = -(1 + log_variance - mean.square() - log_variance.exp()).mean(0) / 2
        with torch.no_grad():
            self.stats = reported(active_share=(each > ACTIVE).float().mean(), kl_nats=each.sum())
        return each.clamp(min=self.free_bits).sum() if self.free_bits else each.sum()
