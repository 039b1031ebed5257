"""How uint8 pixels become a model's input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import UserError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Preprocess"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """Turn uint8 pixels into a model's input: resize where needed, scale to [0, 1], normalise into a new tensor."""

    height: int = 128
    width: int = 64
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise UserError(f"input size {self.height} x {self.width} (height x width) must be positive.")
        if min(self.std) <= 0:
            raise UserError(f"std={self.std} must be positive.")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise UserError(f"interpolation={self.interpolation!r} is unknown; choose bilinear or bicubic.")

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
