"""What lens, sensor and codec do to a clean picture: the look of each camera."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from reidlab.pedestrians.cameras import Camera

__all__ = ["encode_jpeg", "expose"]

_LUMA = (0.299, 0.587, 0.114)


def expose(clean: Image.Image, camera: Camera, rng: np.random.Generator, weather: float) -> npt.NDArray[np.uint8]:
    """Expose the picture: blur, exposure, colour cast, gamma, saturation, vignette, noise; uint8 [height, width, 3].

    `weather` is the log exposure of the hour at which this person walked past this camera.
    """
    width, height = clean.size
    radius = camera.blur * height / 128 * float(rng.uniform(0.6, 1.5))
    pixels = np.asarray(clean.filter(ImageFilter.GaussianBlur(radius)), np.float32) / np.float32(255)
    light = float(np.exp(weather + 0.4 * camera.exposure * rng.standard_normal()))
    warmth = 0.035 * float(rng.standard_normal())
    gain = [light * g * (1 + w) for g, w in zip(camera.gain, (warmth, 0.0, -warmth))]
    pixels = pixels * np.asarray(gain, np.float32)
    grey = pixels[..., 0] * _LUMA[0] + pixels[..., 1] * _LUMA[1] + pixels[..., 2] * _LUMA[2]
    pixels = grey[..., None] + np.float32(camera.saturation) * (pixels - grey[..., None])
    pixels = np.clip(pixels, 0, 1.6) ** np.float32(camera.gamma)
    pixels = (pixels - 0.5) * np.float32(camera.contrast) + np.float32(0.5 + camera.black)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    pixels *= (1 - 0.10 * (x * x + y * y) * float(rng.random()))[..., None].astype(np.float32)
    strength = camera.noise * float(rng.uniform(0.6, 1.5))
    grain = rng.standard_normal((height, width, 3), np.float32)
    pixels += np.float32(strength) * (0.6 * grain + 0.7 * grain[..., :1])
    return (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)


def encode_jpeg(image: npt.NDArray[np.uint8], camera: Camera, rng: np.random.Generator) -> bytes:
    """Compress a picture as the camera does."""
    quality = int(np.clip(camera.quality + rng.integers(-8, 9), 30, 95))
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
