"""Classifiers (softmax layers): classifier(features, labels=None) -> logits [batch, class], for a cross-entropy.

The cosine ones compare L2-normed features with L2-normed class weights: c_j = cos theta_j, logits scale * c_j. Those
with a margin are in `reidlab.models.parts.margins`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reidlab.devices import outside_autocast
from reidlab.errors import UserError
from reidlab.models.parts.build import build_part
from reidlab.registry import CLASSIFIERS

__all__ = ["CLASSIFIERS", "CosineClassifier", "LinearClassifier", "build_classifier"]


class LinearClassifier(nn.Linear):
    """Plain logits W f, or W f + b.

    Args:
        dim: width of the features.
        num_classes: identities.
        std: spread of the initial weights; 0.001 in the strong baselines.
        bias: learn b, which starts at 0; behind a BNNeck it has nothing to do.
    """

    def __init__(self, dim: int, num_classes: int, std: float = 0.001, bias: bool = False) -> None:
        super().__init__(dim, num_classes, bias=bias)
        if not std >= 0:
            raise UserError(f"classifier std={std} must be 0 or more.")
        nn.init.normal_(self.weight, std=std)
        if bias:
            nn.init.zeros_(self.bias)

    def forward(
        self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch class"]:
        """Return logits [batch, class]; labels change nothing."""
        return super().forward(features)


class CosineClassifier(nn.Module):
    """Scaled cosines, scale * c_j; the base of the classifiers with a margin.

    Args:
        dim: width of the features.
        num_classes: identities.
        scale: factor of the cosines; without it a cross-entropy could not fall far.
        sub_centers: weight vectors per class; the cosine of a class is the largest of theirs (Deng et al. 2020), so
            that noisy images may gather at a centre of their own.
    """

    def __init__(self, dim: int, num_classes: int, scale: float = 30.0, sub_centers: int = 1) -> None:
        super().__init__()
        if not scale > 0:
            raise UserError(f"classifier scale={scale} must be above 0.")
        if sub_centers < 1:
            raise UserError(f"classifier sub_centers={sub_centers} must be 1 or more.")
        self.dim, self.num_classes, self.scale, self.sub_centers = dim, num_classes, scale, sub_centers
        self.weight = nn.Parameter(torch.empty(num_classes * sub_centers, dim))  # a class's centres are neighbours
        nn.init.normal_(self.weight, std=0.01)

    def cosines(self, features: Tensor) -> Tensor:
        """Return the cosine of each feature with each class [batch, class], in float32 at least.

        Not under autocast: a bfloat16 cosine is off by up to 0.002, a logit at scale 64 by 0.1.
        """
        with outside_autocast(features.device.type):
            wide = torch.promote_types(features.dtype, self.weight.dtype)
            cosines = F.linear(F.normalize(features.to(wide)), F.normalize(self.weight.to(wide)))
            return cosines.unflatten(1, (self.num_classes, self.sub_centers)).amax(2)

    def forward(
        self, features: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch class"]:
        """Return logits [batch, class].

        Args:
            features: [batch, dim].
            labels: class of each row [batch], -1 where unknown; without them there is no margin.
        """
        cosines = self.cosines(features)
        if self.training and labels is not None:
            known = (labels >= 0)[:, None]
            cosines = torch.where(known, self._with_margin(cosines, labels.clamp(min=0)), cosines)
        return self.scale * cosines

    def _with_margin(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return what stands for the cosines [batch, class] of rows with these labels in training: here no margin."""
        return cosines


def build_classifier(name: str, dim: int, num_classes: int, **options: Any) -> nn.Module:
    """Build a classifier, called as classifier(features [batch, dim], labels=None) -> logits [batch, class].

    Raises:
        UserError: unknown name or option, or a value that the classifier refuses.
    """
    return build_part(CLASSIFIERS, name, {"dim": dim, "num_classes": num_classes}, options)
