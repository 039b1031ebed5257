"""Colour: grey images, grey rectangles, and jitter."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from reidlab.data.transforms.draws import check_batch, chosen, rectangles, uniform
from reidlab.data.transforms.library import functional
from reidlab.errors import UserError

__all__ = ["color_jitter", "global_grayscale", "local_grayscale"]


def local_grayscale(
    images: Tensor,
    generator: Generator,
    *,
    p: float = 0.2,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 0.3,
    tries: int = 100,
) -> Tensor:
    """Take the colour out of one rectangle per image with probability `p` (local grayscale transformation, LGT).

    The rectangle is drawn as by `random_erase`. It works on pixels, as in the paper (Gong et al. 2021): on normalised
    ones the weights of the channels would be wrong.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        area: the rectangle's share of the image, uniform between the two.
        aspect: height over width is uniform between this and its inverse.
        tries: an image whose rectangle never fits stays as it is.
    """
    check_batch(images, generator)
    out = images.clone()
    for i, part in rectangles(images, generator, p=p, area=area, aspect=aspect, tries=tries).items():
        part.of(out[i])[:] = _luma(part.of(images[i]))
    return out


def global_grayscale(images: Tensor, generator: Generator, *, p: float = 0.1) -> Tensor:
    """Take the colour out of each image with probability `p`.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
    """
    check_batch(images, generator)
    out = images.clone()
    for i in chosen(len(images), p, generator):
        out[i] = _luma(images[i])
    return out


def color_jitter(
    images: Tensor,
    generator: Generator,
    *,
    p: float = 1.0,
    brightness: float = 0.2,
    contrast: float = 0.15,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Tensor:
    """Change brightness, contrast, saturation and hue by random factors in a random order with probability `p`.

    Torchvision's ColorJitter, drawn for each image, with torchreid's defaults. Hue costs ten times as much as the rest.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        brightness: factors are uniform in [max(0, 1 - brightness), 1 + brightness]; 0 leaves it.
        contrast: likewise.
        saturation: likewise.
        hue: shares of the colour circle, uniform in [-hue, hue]; at most 0.5.
    """
    check_batch(images, generator)
    spans = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    for name, span in spans.items():
        if not 0 <= span <= (0.5 if name == "hue" else math.inf):
            raise UserError(f"{name}={span} must be 0 or more{' and at most 0.5' if name == 'hue' else ''}.")
    n = len(images)
    used = chosen(n, p, generator)
    order = torch.rand(n, 4, generator=generator).argsort(dim=1).tolist()
    ranges = [(max(0.0, 1 - span), 1 + span) for span in (brightness, contrast, saturation)] + [(-hue, hue)]
    factors = [uniform((n,), *each, generator).tolist() for each in ranges]
    kernels = [getattr(functional(), f"adjust_{name}") for name in spans]
    active = [span > 0 for span in spans.values()]
    out = images.clone()
    for i in used:
        image = images[i]
        for k in order[i]:
            image = kernels[k](image, factors[k][i]) if active[k] else image
        out[i] = image
    return out


def _luma(image: Tensor) -> Tensor:
    """Weigh red, green and blue by .299, .587, .114 in 16-bit fixed point, as Pillow does: uint8 [1, height, width]."""
    red, green, blue = image.to(torch.int32).unbind(-3)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).to(torch.uint8)[None]
