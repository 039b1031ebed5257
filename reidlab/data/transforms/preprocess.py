"""How uint8 pixels become a model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import UserError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "MAX_SIDE", "Preprocess", "check_size"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_SIDE = 8192  # pixels; people are 128 to 384 pixels high
_INTERPOLATIONS = ("bilinear", "bicubic")


def check_size(height: Any, width: Any, what: str = "input size") -> None:
    """Refuse image sizes other than a height and a width in pixels, each from 1 to `MAX_SIDE`.

    Raises:
        UserError: naming `what` and the size.
    """
    sides = (height, width)
    if any(not isinstance(side, int) or isinstance(side, bool) for side in sides):
        raise UserError(f"{what} {height!r} x {width!r} (height x width) must be whole numbers of pixels.")
    if min(sides) < 1:
        raise UserError(f"{what} {height} x {width} (height x width) must be positive.")
    if max(sides) > MAX_SIDE:
        raise UserError(f"{what} {height} x {width} (height x width) is above {MAX_SIDE} pixels per side.")


@dataclass(frozen=True)
class Preprocess:
    """Turn uint8 pixels into a model's input: resize where needed, scale to [0, 1], normalise into a new tensor."""

    height: int = 128
    width: int = 64
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_size(self.height, self.width)
        for name, lowest in (("mean", -1e6), ("std", 1e-6)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != 3 or not all(_within(value, lowest) for value in values):
                what = "positive" if name == "std" else "finite"
                raise UserError(f"{name}={values!r} must be three {what} numbers, one for each of R, G and B.")
        if self.interpolation not in _INTERPOLATIONS:
            raise UserError(f"interpolation={self.interpolation!r} is unknown; choose {' or '.join(_INTERPOLATIONS)}.")

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 [batch, 3, any height, any width] to float32 [batch, 3, height, width]."""
        pixels = images.float()
        if images.shape[-2:] != (self.height, self.width):
            size = (self.height, self.width)
            pixels = F.interpolate(pixels, size=size, mode=self.interpolation, antialias=True, align_corners=False)
            pixels = pixels.clamp(0, 255)  # bicubic overshoots at edges
        mean = torch.tensor(self.mean, device=pixels.device)[:, None, None]
        std = torch.tensor(self.std, device=pixels.device)[:, None, None]
        if not mean.any() and bool((std == 1).all()):
            return pixels.div_(255.0) if pixels is not images else pixels / 255.0
        return (pixels - mean * 255.0) / (std * 255.0)


def _within(value: Any, lowest: float) -> bool:
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and math.isfinite(value) and lowest <= value <= 1e6
