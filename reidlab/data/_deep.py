"""Values of images of more than 8 bits (Pillow's modes I, I;16 and F)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["is_deep", "to_8_bits", "values_of"]

_ROWS = 256  # scaled at a time


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has more than 8 bits in its one channel."""
    return image.mode == "F" or image.mode.split(";")[0] == "I"


def values_of(image: Image.Image) -> npt.NDArray[np.generic] | None:
    """Return the values [height, width] of a deep image (modes I, I;16 and F), None of any other."""
    return np.asarray(image) if is_deep(image) else None


def to_8_bits(values: npt.NDArray[Any], value_range: float) -> npt.NDArray[np.uint8]:
    """Scale values so that `value_range` becomes 255, a few rows at a time: floats take eight times the room."""
    scaled = np.empty(values.shape, dtype=np.uint8)
    for start in range(0, len(values), _ROWS):
        part = values[start : start + _ROWS].astype(np.float64) * (255.0 / value_range)
        scaled[start : start + _ROWS] = np.rint(np.clip(part, 0, 255))
    return scaled
