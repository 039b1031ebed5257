"""Light that is missing, and light that is scattered: night and fog."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Generator, Tensor

from reidlab.data.transforms.corruptions.severities import as_pixels, of_severity
from reidlab.data.transforms.draws import check_batch, uniform

__all__ = ["darkness", "fog"]

_EXPOSURES = (0.4, 0.25, 0.15, 0.08, 0.04)  # share of the light; our own
_FULL, _GAMMA = 1000.0, 2.2  # photons of a white pixel in good light; of the display
_OPACITIES = (0.3, 0.4, 0.5, 0.6, 0.7)  # share of the light that comes from the fog, on average; our own
_FOG = 220.0  # grey level of fog
_SWING, _DECAY = 0.4, 2.0  # of the opacity, thin to dense; how much weaker clouds of half the size are (ImageNet-C)


def darkness(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Take 40, 25, 15, 8 or 4 % of the light, with the noise of the few photons that are left.

    Values are light after a gamma of 2.2; a white pixel in full light counts 1,000 photons, so that one of severity 5
    counts 40, give or take 6 (Poisson).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the noise, on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    exposure = of_severity(_EXPOSURES, severity)
    light = (images.cpu().float() / 255) ** _GAMMA
    photons = torch.poisson(light * (exposure * _FULL), generator=generator)
    return as_pixels(255 * (photons / _FULL) ** (1 / _GAMMA)).to(images.device)


def fog(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Lay fog before everything: 30, 40, 50, 60 or 70 % of the light is the fog's own, a light grey.

    It drifts: the share is up to two fifths lower where it is thin and as much higher where it is dense. Its clouds are
    noise of all sizes, one half as large half as strong (plasma noise, as in ImageNet-C; how they are laid over the
    image differs, so that each severity is further from the clear image than the one before).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the clouds, on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    opacity = of_severity(_OPACITIES, severity)
    if not images.numel():
        return images.clone()
    veil = opacity * (1 - _SWING + 2 * _SWING * _clouds(images, generator))
    return as_pixels(images + veil * (_FOG - images.float()))


def _clouds(images: Tensor, generator: Generator) -> Tensor:
    """Return noise of all sizes as float32 [batch, 1, height, width], from 0 to 1 in each image."""
    n, _, height, width = images.shape
    total, cells, weight = torch.zeros(n, 1, height, width), 1, 1.0
    while cells <= max(height, width):
        tall, wide = (max(1, round(cells * side / max(height, width))) + 1 for side in (height, width))
        grid = uniform((n, 1, tall, wide), 0, 1, generator)
        total += weight * F.interpolate(grid, (height, width), mode="bilinear", align_corners=True)
        cells, weight = 2 * cells, weight / _DECAY
    low, high = total.amin((1, 2, 3), keepdim=True), total.amax((1, 2, 3), keepdim=True)
    return ((total - low) / (high - low).clamp(min=1e-6)).to(images.device)
