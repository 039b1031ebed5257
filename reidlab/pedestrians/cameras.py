"""Six cameras: where each hangs, how it is lit, what its sensor and its detector do to a picture.

World axes in metres: X to the right of the image, Y up, Z away from the camera, the ground at Y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

from reidlab.pedestrians.raster import Light

__all__ = ["CAMERAS", "FRAME", "Camera"]

FRAME = (900, 700)  # width, height of the whole frame in pixels, before boxes are cut from it


@dataclass(frozen=True)
class Camera:
    """One camera world. Angles in degrees, lengths in metres."""

    world: str
    above: float  # height over the ground
    pitch: float  # degrees downwards
    focal: float  # pixels of FRAME
    across: tuple[float, float]  # where people walk: X
    away: tuple[float, float]  # and Z
    headings: tuple[float, ...]  # usual walking directions in degrees; 0 comes towards the camera
    light: Light
    gain: tuple[float, float, float]  # colour cast
    gamma: float
    saturation: float
    contrast: float
    black: float  # haze: added to all channels
    exposure: float  # deviation of the log exposure from picture to picture
    blur: float  # pixels of a 128 x 64 picture
    noise: float  # deviation, 0..1
    quality: int  # JPEG
    occluders: tuple[str, ...]
    occluded: float  # share of pictures with an occluder
    passers: float  # share of pictures with somebody behind
    jitter: float  # deviation of the detector's box, share of its height
    shadow: tuple[float, float, float]  # ground direction X, Z of the cast shadow, and its darkness

    def project(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Project a world point to frame pixels (x right, y down) and pixels per metre at its depth."""
        tilt = radians(self.pitch)
        rise = y - self.above
        depth = max(z * cos(tilt) - rise * sin(tilt), 0.2)
        upward = rise * cos(tilt) + z * sin(tilt)
        scale = self.focal / depth
        return FRAME[0] / 2 + scale * x, FRAME[1] / 2 - scale * upward, scale


CAMERAS: tuple[Camera, ...] = (
    Camera(
        "crossing", 3.4, 15, 1000, (-2.6, 2.6), (7.5, 11.5), (0, 25, -25, 180, 155, -155, 90, -90),
        Light((-0.55, -0.55, 0.63), 0.50, 0.72), (1.05, 1.00, 0.92), 0.95, 1.05, 1.05, 0.02,
        0.14, 0.35, 0.018, 78, ("pole", "car", "walker"), 0.22, 0.45, 0.022, (0.9, 0.35, 0.45),
    ),
    Camera(
        "park", 2.4, 9, 1050, (-2.4, 2.4), (7.0, 11.0), (0, 20, -20, 180, 160, 200, 70, -70),
        Light((0.50, -0.62, 0.60), 0.55, 0.60), (0.94, 1.06, 0.90), 1.05, 0.95, 0.95, 0.03,
        0.13, 0.45, 0.022, 72, ("leaves", "bench", "walker"), 0.25, 0.30, 0.025, (-0.7, 0.5, 0.35),
    ),
    Camera(
        "shop", 2.9, 13, 980, (-2.5, 2.5), (6.8, 9.0), (90, -90, 75, -75, 110, -110, 20, 180),
        Light((-0.10, -0.60, 0.79), 0.62, 0.48), (1.08, 0.98, 0.86), 0.90, 0.90, 0.92, 0.04,
        0.12, 0.40, 0.020, 80, ("bin", "sign", "walker"), 0.24, 0.55, 0.025, (0.1, -0.3, 0.25),
    ),
    Camera(
        "corridor", 2.7, 12, 900, (-1.1, 1.1), (5.5, 9.5), (0, 8, -8, 180, 172, 188, 0, 180),
        Light((0.05, -0.75, 0.66), 0.58, 0.50), (0.92, 1.04, 0.98), 1.10, 0.85, 0.92, 0.05,
        0.12, 0.45, 0.024, 66, ("trolley", "pole", "walker"), 0.18, 0.30, 0.028, (0.0, -0.2, 0.30),
    ),
    Camera(
        "brick", 1.6, 2, 1100, (-2.4, 2.4), (6.5, 9.0), (90, -90, 80, -80, 100, -100, 45, -135),
        Light((0.75, -0.45, 0.48), 0.40, 0.82), (1.00, 0.98, 1.06), 1.00, 1.00, 1.10, 0.01,
        0.16, 0.30, 0.020, 82, ("railing", "car", "pole"), 0.24, 0.30, 0.022, (-1.0, 0.2, 0.45),
    ),
    Camera(
        "station", 4.6, 24, 950, (-2.6, 2.6), (6.5, 10.5), (0, 35, -35, 180, 145, -145, 90, 215),
        Light((-0.40, -0.70, 0.59), 0.46, 0.60), (1.05, 0.95, 0.82), 1.18, 0.88, 0.95, 0.03,
        0.15, 0.55, 0.030, 62, ("sign", "trolley", "walker"), 0.24, 0.40, 0.030, (0.6, -0.4, 0.35),
    ),
)  # fmt: skip
