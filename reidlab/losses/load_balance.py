"""What keeps a gate from choosing one expert for all images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.measures import reported

__all__ = ["LoadBalanceLoss"]


class LoadBalanceLoss(Loss):
    """E sum_e mean(g_e) share_e: 1 where E experts are used evenly, E where one is (Fedus et al. 2021).

    mean(g_e) is the mean gate of expert e over the batch, share_e the share of images whose largest gate is e's. The
    gradient goes through the means alone.

    Attributes:
        stats: after a call, active_share (experts that are the first of at least one image), gate_entropy (of the mean
            gates, as a share of the highest) and gate_<number> (mean gate of each expert).
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self, gates: Float[Tensor, "batch expert"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, ""]:
        """Return the scalar loss of gates [batch, expert] whose rows sum to 1; labels change nothing.

        Raises:
            UserError: gates that are no table of two experts or more.
        """
        if gates.ndim != 2 or gates.shape[1] < 2:
            raise UserError(f"load_balance takes gates [batch, expert], two experts or more; got {list(gates.shape)}.")
        n = gates.shape[1]
        mean = gates.mean(0)
        share = F.one_hot(gates.argmax(1), n).to(gates.dtype).mean(0)
        with torch.no_grad():
            entropy = -(mean * mean.clamp(min=1e-12).log()).sum() / torch.log(mean.new_tensor(float(n)))
            each = {f"gate_{number}": value for number, value in enumerate(mean)}
            self.stats = reported(active_share=(share > 0).float().mean(), gate_entropy=entropy, **each)
        return n * (mean * share).sum()
