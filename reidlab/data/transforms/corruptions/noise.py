"""Noise of sensors: grains everywhere, and single values that are lost."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Generator, Tensor

from reidlab.data.transforms.corruptions.severities import as_pixels, of_severity
from reidlab.data.transforms.draws import check_batch, uniform

__all__ = ["gaussian_noise", "impulse_noise"]

_SIGMAS = (0.08, 0.12, 0.18, 0.26, 0.38)  # ImageNet-C, of values from 0 to 1
_LOST = (0.03, 0.06, 0.09, 0.17, 0.27)  # ImageNet-C: share of the values


def gaussian_noise(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Add Gaussian noise to every value (ImageNet-C).

    Its standard deviation is 0.08, 0.12, 0.18, 0.26 or 0.38 of the range from black to white.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the noise, on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    sigma = 255 * of_severity(_SIGMAS, severity)
    noise = torch.randn(*images.shape, generator=generator)
    return as_pixels(images + sigma * noise.to(images.device))


def impulse_noise(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Set single values to 0 or 255 (salt and pepper, ImageNet-C).

    It meets 3, 6, 9, 17 or 27 % of all values; each channel of a pixel is met by itself.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the noise, on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    lost = of_severity(_LOST, severity)
    drawn = uniform(tuple(images.shape), 0, 1, generator).to(images.device)
    salt = uniform(tuple(images.shape), 0, 1, generator).to(images.device) < 0.5
    return torch.where(drawn < lost, salt.byte() * 255, images)
