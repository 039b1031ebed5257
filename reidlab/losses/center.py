"""Center loss (Wen et al. 2016)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.losses.base import Loss
from reidlab.losses.measures import mean_where, reported, share
from reidlab.losses.pairs import within_classes

__all__ = ["CenterLoss"]

_LARGEST = 2**31  # numbers in all centres
_FLOOR = 1e-12  # squared distance at which the root still has a slope


class CenterLoss(Loss):
    """mean squared distance of features to the learnable centre of their identity: it pulls, and pushes nothing.

    The centres are parameters of the loss. They want an optimiser group of their own, `own_parameters()`: in Bag of
    Tricks SGD with rate 0.5 and no decay. The loss enters the sum with a weight of 5e-4, which would slow the centres
    too; call `rescale_gradients(weight)` between backward and their step to undo it, as published.

    Rows with label -1 take no part; a batch of such rows alone gives 0. Wen et al. halve the sum; the re-identification
    baselines, and this, do not.

    Args:
        num_classes: identities.
        dim: size of the features.
        squared: false gives the mean plain distance (gradient 0 at the centre itself).

    Attributes:
        centers: [class, dim], drawn from a standard normal distribution (torch's global generator, as all layers).
        stats: after a call, d_center (mean distance to the own centre) and active_share (rows with a known identity
            that do not lie on their centre).
    """

    def __init__(self, num_classes: int = 0, dim: int = 0, squared: bool = True) -> None:
        super().__init__()
        if not all(isinstance(size, int) and size >= 1 for size in (num_classes, dim)):
            raise UserError(
                f"center needs num_classes (of the training identities) and dim (of the features it sees), "
                f"whole numbers of 1 or more; got {num_classes!r} and {dim!r}."
            )
        if num_classes * dim > _LARGEST:
            raise UserError(f"center: {num_classes} classes of dim {dim} are more than {_LARGEST:,} numbers.")
        self.squared = squared
        self.centers = nn.Parameter(torch.randn(num_classes, dim))

    def own_parameters(self) -> list[nn.Parameter]:
        """Return the centres: what an optimiser of its own has to move."""
        return [self.centers]

    @torch.no_grad()
    def rescale_gradients(self, weight: float) -> None:
        """Divide the centres' gradients by the weight that the loss had in the sum; nothing where there are none."""
        if not weight > 0:
            raise UserError(f"center weight={weight} must be above 0.")
        if self.centers.grad is not None:
            self.centers.grad /= weight

    def forward(self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Return the scalar loss of features [batch, dim] with labels [batch] in 0..class-1, or -1.

        Raises:
            UserError: labels that do not fit, or features of another size than the centres.
        """
        if features.shape[1] != self.centers.shape[1]:
            raise UserError(
                f"center has centres of dim {self.centers.shape[1]}; its features are {list(features.shape)}. Set dim."
            )
        known = labels >= 0
        with within_classes(len(self.centers)):
            own = self.centers[labels.clamp(min=0)]
        squares = (features - own).square().sum(1)
        distances = squares.clamp(min=_FLOOR).sqrt()
        self.stats = reported(
            active_share=share(squares > _FLOOR, known), d_center=mean_where(distances.detach(), known)
        )
        return mean_where(squares if self.squared else distances, known)
