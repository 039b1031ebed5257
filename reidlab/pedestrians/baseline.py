"""The floor for every learned embedding: a histogram of colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError

__all__ = ["hsv_histogram"]


def hsv_histogram(
    images: npt.NDArray[np.uint8], bins: int = 8, *, masks: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.float32]:
    """Count the colours of each image in bins x bins x bins cells of hue, saturation and value.

    Args:
        images: uint8 [image, height, width, 3], RGB.
        bins: cells along each of the three axes.
        masks: uint8 [image, height, width]; only pixels of value 1 (the person) count. A stronger floor, for it is
            told where to look.

    Returns:
        float32 [image, bins ** 3]; each row sums to 1 (to 0 where a mask is empty).

    Raises:
        UserError: the images are not uint8 [image, height, width, 3] or the masks do not fit them.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"images of {images.dtype} {list(images.shape)}: give uint8 [image, height, width, 3].")
    if masks is not None and masks.shape != images.shape[:3]:
        raise UserError(f"masks of {list(masks.shape)} do not fit images of {list(images.shape)}.")
    out = np.zeros((len(images), bins**3), np.float32)
    for row, image in enumerate(images):
        pixels = image.reshape(-1, 3) if masks is None else image[masks[row] == 1]
        if len(pixels):
            out[row] = np.bincount(_cells(pixels, bins), minlength=bins**3) / len(pixels)
    return out


def _cells(pixels: npt.NDArray[np.uint8], bins: int) -> npt.NDArray[np.int64]:
    """Number the cell of each pixel [pixel, 3]: hue slowest, value fastest."""
    red, green, blue = pixels.astype(np.float32).T
    value, chroma = pixels.max(1).astype(np.float32), np.ptp(pixels, 1).astype(np.float32)
    safe = np.maximum(chroma, 1e-6)
    warm = np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    hue = np.where(value == red, (green - blue) / safe % 6, warm) / 6
    saturation = chroma / np.maximum(value, 1e-6)
    axes = [np.minimum((axis * bins).astype(np.int64), bins - 1) for axis in (hue, saturation, value / 255)]
    return (axes[0] * bins + axes[1]) * bins + axes[2]
