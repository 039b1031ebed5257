"""Lenses out of focus and people (or cameras) that move."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Generator, Tensor

from reidlab.data.transforms.corruptions.severities import REFERENCE, as_pixels, of_severity
from reidlab.data.transforms.draws import check_batch, uniform

__all__ = ["gaussian_blur", "motion_blur"]

_SIGMAS = (1.0, 2.0, 3.0, 4.0, 6.0)  # ImageNet-C, pixels of 224
_TRAILS = ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0))  # ImageNet-C: radius and sigma, pixels of 224
_DEGREES = 45.0  # a trail lies within these of the horizontal


def gaussian_blur(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Blur with a Gaussian, as a lens out of focus does (ImageNet-C).

    Its standard deviation is 1, 2, 3, 4 or 6 pixels of an image 224 high: 0.6 to 3.4 of one 128 high.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: not drawn from; on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    sigma = of_severity(_SIGMAS, severity) * images.shape[2] / REFERENCE
    if not len(images):
        return images.clone()
    reach = max(1, math.ceil(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=images.device) / max(sigma, 1e-3)) ** 2)
    taps = taps / taps.sum()
    planes = images.float().flatten(0, 1)[:, None]
    planes = F.conv2d(F.pad(planes, (reach, reach, reach, reach), mode="replicate"), taps.view(1, 1, -1, 1))
    return as_pixels(F.conv2d(planes, taps.view(1, 1, 1, -1))).view(images.shape)


def motion_blur(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Smear along a line within 45 degrees of the horizontal, as a person who walks by does (ImageNet-C).

    The line is centred on its pixel and weighted by a Gaussian: radius 10, 15, 15, 15, 20 and standard deviation 3, 5,
    8, 12, 15 pixels of an image 224 high.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the angles, on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    radius, sigma = of_severity(_TRAILS, severity)
    n, channels, height, width = images.shape
    angles = uniform((n,), -_DEGREES, _DEGREES, generator)
    if not n:
        return images.clone()
    scale = height / REFERENCE
    trails = torch.stack([_trail(radius * scale, sigma * scale, math.radians(angle)) for angle in angles.tolist()])
    reach = trails.shape[-1] // 2
    planes = F.pad(images.float().view(n, channels, height, width), (reach,) * 4, mode="replicate")
    kernels = trails.to(images.device).repeat_interleave(channels, 0)[:, None]
    smeared = F.conv2d(planes.reshape(1, n * channels, *planes.shape[2:]), kernels, groups=n * channels)
    return as_pixels(smeared).view(images.shape)


def _trail(radius: float, sigma: float, angle: float) -> Tensor:
    """Return a line of points a quarter of a pixel apart as a kernel float32 [side, side] that sums to 1."""
    reach = max(1, math.ceil(radius))
    steps = torch.arange(-4 * reach, 4 * reach + 1) / 4
    steps = steps[steps.abs() <= max(radius, 0.25)]
    weights = torch.exp(-0.5 * (steps / max(sigma, 1e-3)) ** 2)
    rows, columns = reach - steps * math.sin(angle), reach + steps * math.cos(angle)
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1)
    for down in (0, 1):  # each point is shared by the four pixels around it
        for across in (0, 1):
            row, column = (rows.floor() + down).long(), (columns.floor() + across).long()
            share = (1 - (rows - row).abs()).clamp(min=0) * (1 - (columns - column).abs()).clamp(min=0)
            inside = (row <= 2 * reach) & (column <= 2 * reach)
            kernel.index_put_((row[inside], column[inside]), (weights * share)[inside], accumulate=True)
    return kernel / kernel.sum()
