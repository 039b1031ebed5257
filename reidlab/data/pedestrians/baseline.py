"""The floor for every learned embedding: a histogram of colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError

__all__ = ["hsv_histogram"]


def hsv_histogram(images: npt.NDArray[np.uint8], bins: int = 8) -> npt.NDArray[np.float32]:
    """Count the colours of each image in bins x bins x bins cells of hue, saturation and value.

    Args:
        images: uint8 [image, height, width, 3], RGB.
        bins: cells along each of the three axes.

    Returns:
        float32 [image, bins ** 3]; each row sums to 1.

    Raises:
        UserError: the images are not uint8 [image, height, width, 3].
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"images of {images.dtype} {list(images.shape)}: give uint8 [image, height, width, 3].")
    out = np.empty((len(images), bins**3), np.float32)
    for row, image in enumerate(images):
        pixels = image.reshape(-1, 3).astype(np.float32)
        red, green, blue = pixels[:, 0], pixels[:, 1], pixels[:, 2]
        value, chroma = pixels.max(1), np.ptp(pixels, 1)
        safe = np.maximum(chroma, 1e-6)
        hue = np.where(
            value == red,
            (green - blue) / safe % 6,
            np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
        )
        hue = np.where(chroma == 0, 0, hue / 6)
        saturation = chroma / np.maximum(value, 1e-6)
        axes = [np.minimum((axis * bins).astype(np.int64), bins - 1) for axis in (hue, saturation, value / 255)]
        cells = (axes[0] * bins + axes[1]) * bins + axes[2]
        out[row] = np.bincount(cells, minlength=bins**3) / len(pixels)
    return out
