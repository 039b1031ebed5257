"""Drawn people, and a model that knows colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from reidlab.data.transforms import Preprocess

XSS = "<img src=x onerror=alert(1)>.jpg"


class Colours(nn.Module):
    """The embedding is the mean colour of the upper and of the lower half."""

    dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Preprocess(8, 4)
        self.calls: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(images))
        return torch.cat([images[:, :, :4].mean(dim=(2, 3)), images[:, :, 4:].mean(dim=(2, 3))], dim=1)


def draw(path: Path, seed: int, noise: int = 0, **options: Any) -> Path:
    """Draw two halves in colours of `seed`; `noise` tells images of one person apart."""
    rng = np.random.default_rng(seed)
    halves = rng.integers(40, 216, (2, 1, 3)).repeat(4, axis=1)
    pixels = halves.repeat([16, 16], axis=0).astype(np.int64)
    pixels += np.random.default_rng([seed, noise]).integers(-9, 10, pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, **options)
    return path
