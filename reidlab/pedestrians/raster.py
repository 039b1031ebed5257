"""The brush: shaded tubes with soft edges on a float canvas.

Every limb, trunk, head and bag is a tube: an axis in the image and a half-width along it. Across the axis the tube
is round, so each pixel has a normal (for the light) and an angle around the body (for front, side and back).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Canvas", "Floats", "Light", "Texture", "soft_noise"]

Floats = npt.NDArray[np.floating[Any]]  # float32 at run time
Texture = Callable[[Floats, Floats], Floats]  # (angle in radians, 0..1 along the axis) -> rgb [..., 3]


@dataclass(frozen=True)
class Light:
    """Where the light comes from (image x right, y down, z to the viewer) and how it splits."""

    direction: tuple[float, float, float]
    ambient: float
    diffuse: float


def soft_noise(rng: np.random.Generator, size: int, cells: int) -> Floats:
    """Make tileable smooth noise [size, size] of mean 0 and deviation 1 with about `cells` bumps per side."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    fy = np.fft.fftfreq(size, 1 / size)[:, None]
    fx = np.fft.rfftfreq(size, 1 / size)[None, :]
    noise = np.fft.irfft2(spectrum * np.exp(-(fx * fx + fy * fy) / (2.0 * cells * cells)), s=(size, size))
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


@dataclass
class Canvas:
    """Pixels [height, width, 3] in 0..1 and how much of each pixel is covered by tubes [height, width]."""

    pixels: Floats
    light: Light
    wrinkles: Floats
    cover: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.cover = np.zeros(self.pixels.shape[:2], np.float32)

    def tube(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        widths: tuple[float, ...],
        texture: Texture,
        *,
        turn: float = 0.0,
        caps: bool = True,
        wrinkle: float = 0.0,
        dim: float = 1.0,
    ) -> None:
        """Paint a tube from start to end (x, y in pixels) with half-widths spread evenly along it.

        `turn` is the heading against the camera (0 faces it), `caps` rounds the ends, `wrinkle` is the strength of
        folds, `dim` darkens it all.
        """
        reach = max(widths) + 1.5
        height, width = self.cover.shape
        x0, x1 = (
            int(max(min(start[0], end[0]) - reach, 0)),
            int(min(max(start[0], end[0]) + reach + 1, width)),
        )
        y0, y1 = (
            int(max(min(start[1], end[1]) - reach, 0)),
            int(min(max(start[1], end[1]) + reach + 1, height)),
        )
        if x0 >= x1 or y0 >= y1:
            return
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = max((dx * dx + dy * dy) ** 0.5, 1e-3)
        dx, dy = dx / length, dy / length
        x = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5 - start[0])
        y = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - start[1])
        along = (x * np.float32(dx) + y * np.float32(dy)) * np.float32(1 / length)
        across = x * np.float32(dy) - y * np.float32(dx)
        inner = np.clip(along, 0, 1)
        half = _half_widths(inner, widths)
        if caps:
            beyond = (along - inner) * np.float32(length)
            edge = half - np.sqrt(across * across + beyond * beyond)
        else:
            edge = np.minimum(half - np.abs(across), np.minimum(along, 1 - along) * np.float32(length) + 0.5)
        cover = np.clip(edge + 0.5, 0, 1)
        side = np.clip(across / np.maximum(half, 0.3), -1, 1)
        shade = self._shade(side, inner, dx, dy, wrinkle) * np.float32(dim)
        colour = texture(np.arcsin(side) - np.float32(turn), inner)
        region = self.pixels[y0:y1, x0:x1]
        region += cover[..., None] * (colour * shade[..., None] - region)
        known = self.cover[y0:y1, x0:x1]
        np.maximum(known, cover, out=known)

    def _shade(self, side: Floats, along: Floats, dx: float, dy: float, wrinkle: float) -> Floats:
        """Light a round surface: ambient plus Lambert, darker at the rim, with folds of cloth."""
        lx, ly, lz = self.light.direction
        front = np.sqrt(np.maximum(1 - side * side, 0))
        lambert = np.maximum(side * np.float32(lx * dy - ly * dx) + front * np.float32(lz) - np.float32(0.25 * ly), 0)
        shade = np.float32(self.light.ambient) * (0.72 + 0.28 * front) + np.float32(self.light.diffuse) * lambert
        if wrinkle:
            size = self.wrinkles.shape[0]
            rows = (along * np.float32(0.6 * size) + np.float32(17 * dx * size)).astype(np.int32) % size
            columns = (side * np.float32(0.2 * size) + np.float32(31 * dy * size)).astype(np.int32) % size
            shade = shade * (1 + np.float32(wrinkle) * self.wrinkles[rows, columns])
        return np.asarray(shade, np.float32)


def _half_widths(along: Floats, widths: tuple[float, ...]) -> Floats:
    if len(widths) == 1:
        return np.full_like(along, widths[0])
    if len(widths) == 2:
        return widths[0] + along * np.float32(widths[1] - widths[0])
    stations = np.linspace(0, 1, len(widths))
    return np.interp(along, stations, widths).astype(np.float32)
