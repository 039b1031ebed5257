"""How uint8 pixels become a model's input, and random changes to whole batches.

Every random transform takes uint8 [batch, 3, height, width] and a torch.Generator on the CPU (so that the same seed
gives the same draws on every device), draws once per image, and returns a new tensor: the input is never changed.
Erased pixels get the normalisation mean, which is zero after `Preprocess`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reidlab.errors import UserError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Augment",
    "Preprocess",
    "random_crop",
    "random_erase",
    "random_flip",
]

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


def _chosen(n: int, p: float, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator) < p


def random_flip(images: Tensor, generator: Generator, *, p: float = 0.5) -> Tensor:
    """Mirror each image left-right with probability `p`."""
    flip = _chosen(len(images), p, generator).to(images.device)
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def random_crop(images: Tensor, generator: Generator, *, padding: int = 10) -> Tensor:
    """Pad with black by `padding` pixels on all sides and cut the original size out at a random place."""
    n, _, height, width = images.shape
    top = torch.randint(0, 2 * padding + 1, (n,), generator=generator).to(images.device)
    left = torch.randint(0, 2 * padding + 1, (n,), generator=generator).to(images.device)
    rows = top[:, None] + torch.arange(height, device=images.device)  # [batch, height]
    columns = left[:, None] + torch.arange(width, device=images.device)  # [batch, width]
    padded = F.pad(images, (padding,) * 4).permute(0, 2, 3, 1)  # [batch, height, width, 3]
    image = torch.arange(n, device=images.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_erase(
    images: Tensor,
    generator: Generator,
    *,
    p: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 0.3,
    fill: Sequence[float] = (0.0, 0.0, 0.0),
    tries: int = 100,
) -> Tensor:
    """Erase one rectangle per image with probability `p` (random erasing, Zhong et al. 2020).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        area: the rectangle's share of the image, uniform between the two.
        aspect: height over width is uniform between this and its inverse.
        fill: colour in [0, 1].
        tries: an image whose rectangle never fits stays as it is.
    """
    n, _, height, width = images.shape
    share = area[0] + (area[1] - area[0]) * torch.rand(n, tries, generator=generator)
    ratio = aspect + (1 / aspect - aspect) * torch.rand(n, tries, generator=generator)
    tall = (share * height * width * ratio).sqrt().round().long()
    wide = (share * height * width / ratio).sqrt().round().long()
    fits = (tall < height) & (wide < width) & (tall > 0) & (wide > 0)
    first = fits.float().argmax(dim=1)
    each = torch.arange(n)
    tall, wide = tall[each, first], wide[each, first]
    erase = _chosen(n, p, generator) & fits.any(dim=1)
    top = (torch.rand(n, generator=generator) * (height - tall + 1)).long()
    left = (torch.rand(n, generator=generator) * (width - wide + 1)).long()
    rows, columns = torch.arange(height), torch.arange(width)
    in_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    mask = (in_rows[:, None, :, None] & in_columns[:, None, None, :] & erase[:, None, None, None]).to(images.device)
    colour = torch.tensor([round(255 * c) for c in fill], dtype=images.dtype, device=images.device)
    return torch.where(mask, colour[None, :, None, None], images)


@dataclass(frozen=True)
class Augment:
    """The training transforms of a recipe, in the order flip, crop, erase.

    Attributes:
        flip: probability of mirroring.
        crop_padding: pixels of black border before the random crop; 0 leaves it out.
        erase: probability of erasing one rectangle.
    """

    flip: float = 0.5
    crop_padding: int = 0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"augment {name}={getattr(self, name)} is no probability; give 0 to 1.")
        if self.crop_padding < 0:
            raise UserError(f"augment crop_padding={self.crop_padding} must be 0 or more pixels.")

    def __call__(self, images: Tensor, generator: Generator, *, fill: Sequence[float] = (0.0, 0.0, 0.0)) -> Tensor:
        """Apply the transforms to uint8 [batch, 3, height, width]; `fill` is the erasing colour in [0, 1]."""
        steps: list[Callable[[Tensor], Tensor]] = []
        if self.flip:
            steps.append(lambda x: random_flip(x, generator, p=self.flip))
        if self.crop_padding:
            steps.append(lambda x: random_crop(x, generator, padding=self.crop_padding))
        if self.erase:
            steps.append(lambda x: random_erase(x, generator, p=self.erase, fill=fill))
        for step in steps:
            images = step(images)
        return images
