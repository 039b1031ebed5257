"""How well a decoder gives the image back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from reidlab.errors import UserError, nearest
from reidlab.losses.base import Loss
from reidlab.losses.measures import reported

__all__ = ["ReconstructionLoss"]

_FORMS = ("mse", "l1")


class ReconstructionLoss(Loss):
    """mean squared (or absolute) difference of pixels in [0, 1].

    Args:
        form: mse or l1.

    Attributes:
        stats: after a call, psnr (decibels: 10 log10 of 1 / mean squared difference) and active_share (pixels that
            differ by more than 1 / 255).
    """

    def __init__(self, form: str = "mse") -> None:
        super().__init__()
        if form not in _FORMS:
            raise UserError(f"reconstruction form={form!r} is unknown; choose from mse, l1.{nearest(form, _FORMS)}")
        self.form = form

    def forward(
        self, reconstruction: Float[Tensor, "batch 3 height width"], pixels: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of decoded images and the images themselves, both in [0, 1].

        Raises:
            UserError: their shapes differ.
        """
        if reconstruction.shape != pixels.shape:
            raise UserError(
                f"reconstruction takes images of one shape; got {list(reconstruction.shape)} and {list(pixels.shape)}."
            )
        pixels = pixels.detach()
        with torch.no_grad():
            apart = (reconstruction - pixels).abs()
            self.stats = reported(
                psnr=-10 * apart.square().mean().clamp(min=1e-10).log10(),
                active_share=(apart > 1 / 255).float().mean(),
            )
        return (F.mse_loss if self.form == "mse" else F.l1_loss)(reconstruction, pixels)
