"""What the transforms share: checks of what they are given, and their draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from reidlab.errors import UserError

__all__ = ["Rectangle", "check_batch", "check_range", "chosen", "colour", "positions", "rectangles", "uniform"]


class Rectangle(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: Tensor) -> Tensor:
        """Return a view of this part of [..., height, width]."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def check_batch(images: Tensor, generator: Generator) -> None:
    """Refuse anything but uint8 [batch, 3, height, width], and a generator that is not on the CPU."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(
            f"Transforms take uint8 [batch, 3, height, width]; got {str(images.dtype).removeprefix('torch.')} "
            f"{list(images.shape)}. Batches made for a network are floats: transform the pixels before that."
        )
    if generator.device.type != "cpu":
        raise UserError(f"The generator must be on the CPU, where all draws are made; it is on {generator.device}.")


def check_range(name: str, given: Sequence[float], low: float, high: float) -> None:
    """Refuse anything but two numbers between `low` and `high`, the smaller one first."""
    if len(given) != 2 or not low <= given[0] <= given[1] <= high:
        raise UserError(f"{name}={tuple(given)} must be two numbers from {low:g} to {high:g}, the smaller one first.")


def chosen(n: int, p: float, generator: Generator) -> list[int]:
    """Choose each of `n` images with probability `p`."""
    if not 0 <= p <= 1:
        raise UserError(f"p={p} must be a probability from 0 to 1.")
    return torch.nonzero(torch.rand(n, generator=generator) < p)[:, 0].tolist()


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Draw float32 numbers between `low` and `high`."""
    return low + (high - low) * torch.rand(*shape, generator=generator)


def positions(room: Tensor, generator: Generator) -> list[int]:
    """Draw a whole number from 0 to `room` (int64 [batch], 0 or more), each alike, for each image."""
    return (torch.rand(len(room), generator=generator) * (room + 1)).long().tolist()


def colour(fill: Sequence[float], images: Tensor) -> Tensor:
    """Return a colour in [0, 1] as uint8 [3, 1, 1] on the device of `images`, rounded half up to grey levels."""
    if len(fill) != 3 or not all(0 <= channel <= 1 for channel in fill):
        raise UserError(f"fill={tuple(fill)} must be three numbers from 0 to 1 (red, green, blue).")
    levels = [math.floor(255 * channel + 0.5) for channel in fill]
    return torch.tensor(levels, dtype=torch.uint8, device=images.device)[:, None, None]


def rectangles(
    images: Tensor, generator: Generator, *, p: float, area: tuple[float, float], aspect: float, tries: int
) -> dict[int, Rectangle]:
    """Draw one rectangle for each image with probability `p`, as random erasing does (Zhong et al. 2020).

    Height and width come from a share of the image's area, uniform in `area`, and from height over width, uniform
    between `aspect` and its inverse; both are drawn up to `tries` times until the rectangle is smaller than the image.
    Images where none fits get none.
    """
    check_range("area", area, 0, 1)
    if not 0 < aspect <= 1:
        raise UserError(f"aspect={aspect} must be more than 0 and at most 1 (its inverse is the other end).")
    if tries < 1:
        raise UserError(f"tries={tries} must be 1 or more.")
    n, _, height, width = images.shape
    share = uniform((n, tries), *area, generator)
    ratio = uniform((n, tries), aspect, 1 / aspect, generator)
    tall = (share * height * width * ratio).sqrt().round().long()
    wide = (share * height * width / ratio).sqrt().round().long()
    fits = (tall < height) & (wide < width) & (tall > 0) & (wide > 0)
    first = fits.float().argmax(dim=1, keepdim=True)
    found = fits.any(dim=1).tolist()
    tall, wide = tall.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
    used = chosen(n, p, generator)
    top, left = positions((height - tall).clamp(min=0), generator), positions((width - wide).clamp(min=0), generator)
    return {i: Rectangle(top[i], left[i], int(tall[i]), int(wide[i])) for i in used if found[i]}
