"""Cosine classifiers with a margin: CosFace, ArcFace, ArcFace with a margin for each class, and Circle.

Margins change the logits only in training mode and only in rows with a label >= 0 (-1 is "unlabelled"); otherwise the
logits are the plain scaled cosines. Margins of the ArcFace kind are angles in radians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import UserError, nearest
from reidlab.models.parts.classifiers import CosineClassifier

__all__ = ["AdaptiveArcFaceClassifier", "ArcFaceClassifier", "CircleClassifier", "CosFaceClassifier"]

_GUARDS = ("wrap", "easy", "none")
_EDGE = 1e-7  # cosines are kept this far from +-1, where the derivative of acos is infinite


class CosFaceClassifier(CosineClassifier):
    """CosFace (Wang et al. 2018): scale * (c_y - margin), others scale * c_j.

    Args:
        dim, num_classes, scale, sub_centers: as in `CosineClassifier`.
        margin: taken from the target's cosine.
    """

    def __init__(
        self, dim: int, num_classes: int, scale: float = 30.0, margin: float = 0.25, sub_centers: int = 1
    ) -> None:
        super().__init__(dim, num_classes, scale, sub_centers)
        self.margin = _checked_margin(margin, 2.0)

    def _with_margin(self, cosines: Tensor, labels: Tensor) -> Tensor:
        return cosines - self.margin * F.one_hot(labels, self.num_classes)


class ArcFaceClassifier(CosineClassifier):
    """ArcFace (Deng et al. 2019): scale * cos(theta_y + margin), others scale * c_j.

    Args:
        dim, num_classes, scale, sub_centers: as in `CosineClassifier`.
        margin: radians; 28.6 degrees by default.
        guard: what happens to targets with theta_y > pi - margin, whose logit would rise with the angle. "wrap": they
            get c_y - margin * sin(margin), as published by the authors. "easy": margin only where c_y > 0. "none": no
            guard, as in the component library.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        scale: float = 64.0,
        margin: float = math.radians(28.6),
        guard: str = "wrap",
        sub_centers: int = 1,
    ) -> None:
        super().__init__(dim, num_classes, scale, sub_centers)
        self.margin = _checked_angle("margin", margin)
        if guard not in _GUARDS:
            raise UserError(f"guard={guard!r} is unknown; choose from {', '.join(_GUARDS)}.{nearest(guard, _GUARDS)}")
        self.guard = guard

    def _with_margin(self, cosines: Tensor, labels: Tensor) -> Tensor:
        target = cosines.gather(1, labels[:, None])
        margins = self._margins(labels).to(target.dtype)[:, None]
        return cosines.scatter(1, labels[:, None], _add_angle(target, margins, self.guard))

    def _margins(self, labels: Tensor) -> Tensor:
        """Return the margin of each row [batch]."""
        return self.weight.new_full(labels.shape, self.margin)


class AdaptiveArcFaceClassifier(ArcFaceClassifier):
    """ArcFace whose margin grows for rare classes: proportional to n_c^-1/2, scaled to [low, high] (Ha et al. 2020).

    Where all classes have as many images, each gets the middle of low and high.

    Args:
        dim, num_classes, scale, sub_centers: as in `CosineClassifier`; the component library has 3 sub-centres.
        low, high: margins in radians of the most and least frequent class.
        guard: as in `ArcFaceClassifier`.
        class_counts: images of each class [class]; without them call `set_class_counts` before training. The margins
            are saved with the weights.
    """

    margins: Tensor

    def __init__(
        self,
        dim: int,
        num_classes: int,
        scale: float = 30.0,
        low: float = 0.05,
        high: float = 0.5,
        guard: str = "wrap",
        sub_centers: int = 1,
        class_counts: Sequence[int] | Tensor = (),
    ) -> None:
        if _checked_angle("low", low) > _checked_angle("high", high):
            raise UserError(f"classifier low={low} must not be above high={high}.")
        super().__init__(dim, num_classes, scale, high, guard, sub_centers)
        self.low, self.high, self._ready = low, high, False
        self.register_buffer("margins", torch.full((num_classes,), math.nan))
        if len(class_counts):
            self.set_class_counts(class_counts)

    def set_class_counts(self, class_counts: Sequence[int] | Tensor) -> None:
        """Compute the margins [class] from the number of images of each class [class].

        Raises:
            UserError: another number of classes, or a class without images.
        """
        counts = torch.as_tensor(class_counts).cpu().double()  # some devices have no float64
        if counts.shape != (self.num_classes,):
            raise UserError(f"class_counts has {counts.numel()} entries, but there are {self.num_classes} classes.")
        if counts.min() < 1:
            raise UserError(f"class_counts: class {int(counts.argmin())} has no images; leave it out of the classes.")
        rarity = counts.rsqrt()
        span = rarity.max() - rarity.min()
        share = (rarity - rarity.min()) / span if span > 0 else torch.full_like(rarity, 0.5)
        self.margins.copy_((self.low + (self.high - self.low) * share).to(self.margins.dtype))

    def _margins(self, labels: Tensor) -> Tensor:
        if not self._ready and self.margins.isnan().any():  # a checkpoint may have filled them; asked once: it waits
            raise UserError("arcface_adaptive needs class_counts (images of each class), or set_class_counts().")
        self._ready = True
        return self.margins[labels]


class CircleClassifier(CosineClassifier):
    """Circle loss with class weights (Sun et al. 2020): margins and weights that fall with what is reached already.

    Target: scale * [1 + m - c_y]+ * (c_y - (1 - m)); others: scale * [c_j + m]+ * (c_j - m); no gradient through [.]+.

    Args:
        dim, num_classes, scale, sub_centers: as in `CosineClassifier`.
        margin: m, from 0 (hard) to 1.
    """

    def __init__(
        self, dim: int, num_classes: int, scale: float = 64.0, margin: float = 0.35, sub_centers: int = 1
    ) -> None:
        super().__init__(dim, num_classes, scale, sub_centers)
        self.margin = _checked_margin(margin, 1.0)

    def _with_margin(self, cosines: Tensor, labels: Tensor) -> Tensor:
        m, fixed = self.margin, cosines.detach()
        others = (fixed + m).clamp(min=0) * (cosines - m)
        target = (1 + m - fixed).clamp(min=0) * (cosines - (1 - m))
        return torch.where(F.one_hot(labels, self.num_classes).bool(), target, others)


def _add_angle(cosines: Tensor, margins: Tensor, guard: str) -> Tensor:
    """Return cos(theta + margin) of cosines, elementwise, with one of the guards of `ArcFaceClassifier`."""
    shifted = torch.cos(cosines.clamp(-1 + _EDGE, 1 - _EDGE).acos() + margins)
    if guard == "easy":
        return torch.where(cosines > 0, shifted, cosines)
    if guard == "wrap":
        return torch.where(cosines > -margins.cos(), shifted, cosines - margins * margins.sin())
    return shifted


def _checked_margin(margin: float, largest: float) -> float:
    if not 0 <= margin <= largest:
        raise UserError(f"classifier margin={margin} is outside [0, {largest:g}].")
    return margin


def _checked_angle(label: str, angle: float) -> float:
    if not 0 <= angle <= math.pi / 2:
        hint = f" {angle} degrees are {math.radians(angle):.4f}." if 0 < angle <= 90 else ""
        raise UserError(f"classifier {label}={angle} is outside [0, pi / 2]: it is in radians.{hint}")
    return angle
