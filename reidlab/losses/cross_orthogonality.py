"""Cross-orthogonality of channels, the penalty of FPB (Zhang et al. 2021), after ABD-Net's (Chen et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.measures import ACTIVE, reported

__all__ = ["CrossOrthogonalityLoss"]

_MOST = 100_000  # channels, and iterations: more of them take for ever


class CrossOrthogonalityLoss(Loss):
    """mean over images of how far F F' is from a multiple of the identity: its largest minus its smallest eigenvalue.

    F [channel, position] are one image's maps. The penalty is small where channels are at right angles and equally
    strong; on two sets of maps side by side it keeps one from showing what the other shows. It knows no identities. The
    published code takes a single step of the power iteration from a random vector, and sums over images with a weight
    of 1e-8 x 32 / batch: as a mean it has the weight 3.2e-7.

    Args:
        channels: of the maps; FPB's two times 256.
        iterations: steps of the power iteration for either eigenvalue.

    Attributes:
        stats: after a call, active_share (images whose eigenvalues are further apart than 0.01 of the largest).
    """

    def __init__(self, channels: int = 512, iterations: int = 10) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("iterations", iterations)):
            if not 1 <= value <= _MOST:
                raise UserError(f"cross_orthogonality {name}={value} must be 1 or more, and at most {_MOST:,}.")
        self.channels, self.iterations = channels, iterations

    def forward(
        self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, ""]:
        """Return the scalar penalty of maps flattened to [batch, channels * height * width]; labels change nothing.

        Raises:
            UserError: features that are no multiple of `channels` wide.
        """
        if features.ndim != 2 or features.shape[1] % self.channels:
            raise UserError(
                f"cross_orthogonality: features {list(features.shape)} are not [batch, channels * positions] of "
                f"{self.channels} channels; set channels."
            )
        maps = features.unflatten(1, (self.channels, -1))
        v, w = _extremes(maps.detach(), self.iterations)
        largest = _gain(maps, v)
        gaps = largest - _gain(maps, w)
        self.stats = reported(active_share=(gaps > ACTIVE * largest).float().mean())
        return gaps.mean()


@torch.no_grad()
def _extremes(maps: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Return unit eigenvectors [batch, channel, 1] of F F' for its largest and smallest eigenvalue.

    There v' F F' v has the eigenvalue's gradient with v taken as fixed.
    """
    channels = maps.shape[1]
    v = maps.new_ones(len(maps), channels, 1)
    w = v / channels**0.5
    w[:, 1::2] *= -1.0
    for _ in range(iterations):
        v = F.normalize(_gram(maps, v), dim=1)
    bound = _gain(maps, v)[:, None, None]
    for _ in range(iterations):
        step = bound * w - _gram(maps, w)  # 0 where all eigenvalues are the same: any vector will do then
        w = torch.where(step.any(1, keepdim=True), F.normalize(step, dim=1), w)
    return v, w


def _gram(maps: Tensor, vectors: Tensor) -> Tensor:
    """Return F F' v [batch, channel, 1]."""
    return maps @ (maps.transpose(1, 2) @ vectors)


def _gain(maps: Tensor, vectors: Tensor) -> Tensor:
    """Return v' F F' v [batch]."""
    return (maps.transpose(1, 2) @ vectors).square().sum((1, 2))
