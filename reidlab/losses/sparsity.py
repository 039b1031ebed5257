"""What makes codes sparse: most of their numbers 0 for most images."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError, nearest
from reidlab.losses.base import Loss
from reidlab.losses.measures import reported

__all__ = ["SparsityLoss"]

_FORMS = ("l1", "kl")
_TINY = 1e-6


class SparsityLoss(Loss):
    """mean absolute value of the code, or the divergence of its activity from a wanted one (Ng 2011, CS294A notes).

    The published term runs the layers of the network a second time; the code itself says the same.

    Args:
        form: l1, or kl: the mean activity of each number over the batch, as a share of the largest of these means,
            against `rho`, averaged over numbers.
        rho: wanted activity of kl.

    Attributes:
        stats: after a call, active_share (numbers of all codes that are not 0).
    """

    def __init__(self, form: str = "l1", rho: float = 0.05) -> None:
        super().__init__()
        if form not in _FORMS:
            raise UserError(f"sparsity form={form!r} is unknown; choose from l1, kl.{nearest(form, _FORMS)}")
        if not 0 < rho < 1:
            raise UserError(f"sparsity rho={rho} is outside (0, 1).")
        self.form, self.rho = form, rho

    def forward(
        self, features: Float[Tensor, "batch code"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of codes [batch, code]; labels change nothing."""
        size = features.abs()
        self.stats = reported(active_share=(size > _TINY).float().mean())
        if self.form == "l1":
            return size.mean()
        activity = size.mean(0)
        share = (activity / activity.detach().amax().clamp(min=_TINY)).clamp(_TINY, 1 - _TINY)
        rho = torch.as_tensor(self.rho, dtype=share.dtype, device=share.device)
        return (rho * (rho / share).log() + (1 - rho) * ((1 - rho) / (1 - share)).log()).mean()
