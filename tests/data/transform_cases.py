"""Images, generators and bounds for the tests of transforms."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 6, height: int = 16, width: int = 8, seed: int = 0) -> Tensor:
    """Random uint8 in channels_last memory, as the pixel store gives it; no pixel is 0."""
    made = torch.randint(1, 256, (n, height, width, 3), dtype=torch.uint8, generator=seeded(seed))
    return made.permute(0, 3, 1, 2)


def smooth_images(n: int = 4, height: int = 33, width: int = 18) -> Tensor:
    """Images with large areas and few levels, as photographs have: what equalising and sharpening are made for."""
    rows, columns = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 2, width), indexing="ij")
    waves = [(rows * (i + 1)).sin() + (columns * (c + 1) + i).cos() for i in range(n) for c in range(3)]
    return (torch.stack(waves).view(n, 3, height, width) * 50 + 110).to(torch.uint8)


def coordinates(n: int, height: int, width: int) -> Tensor:
    """Every pixel says where it is: red is its row, green its column, blue its image."""
    made = torch.empty(n, 3, height, width, dtype=torch.uint8)
    made[:, 0] = torch.arange(height)[:, None]
    made[:, 1] = torch.arange(width)
    made[:, 2] = torch.arange(n)[:, None, None]
    return made


def likely(count: Any, n: int, p: float) -> bool:
    """Return whether `count` of `n` independent draws of probability `p` lies within four standard deviations."""
    return abs(float(count) - n * p) <= 4 * math.sqrt(n * p * (1 - p)) + 1e-9
