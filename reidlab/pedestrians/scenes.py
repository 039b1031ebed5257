"""Six places, seen by their cameras: every pixel of the frame is traced to the ground, a wall or the sky."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians, sin

import numpy as np

from reidlab.pedestrians.cameras import CAMERAS, FRAME, Camera
from reidlab.pedestrians.raster import Floats, soft_noise

__all__ = ["scene"]

TILE = 256  # pixels a side of the noise that is laid over all surfaces


@dataclass(frozen=True)
class _Surfaces:
    """What each pixel of the frame sees: ground (X, Z) or, above it, a far wall (X, Y)."""

    x: Floats
    y: Floats
    z: Floats
    ground: Floats  # 1 on the ground, 0 on walls
    side: Floats  # 1 on side walls (corridor)
    fine: Floats
    coarse: Floats

    def grain(self, a: Floats, b: Floats, per_metre: float, coarse: bool = False) -> Floats:
        """Look noise up at surface coordinates in metres."""
        tile = self.coarse if coarse else self.fine
        rows = (a * np.float32(per_metre)).astype(np.int32) % TILE
        columns = (b * np.float32(per_metre)).astype(np.int32) % TILE
        return tile[rows, columns]


def _trace(camera: Camera, rng: np.random.Generator, wall: float, half_width: float) -> _Surfaces:
    """Cast one ray per pixel; the far wall stands at Z = `wall`, side walls at |X| = `half_width`."""
    width, height = FRAME
    tilt = radians(camera.pitch)
    right = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / camera.focal)[None, :].astype(np.float32)
    down = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / camera.focal)[:, None].astype(np.float32)
    forward = np.float32(cos(tilt)) - down * np.float32(sin(tilt))
    rise = -np.float32(sin(tilt)) - down * np.float32(cos(tilt))
    to_wall = wall / forward
    to_ground = np.where(rise < -1e-4, -camera.above / np.minimum(rise, -1e-4), 1e6)
    to_side = half_width / np.maximum(np.abs(right), 1e-4)
    reach = np.minimum(np.minimum(to_wall, to_ground), to_side).astype(np.float32)
    ground = ((to_ground <= to_wall) & (to_ground <= to_side)).astype(np.float32)
    side = ((to_side < to_wall) & (to_side < to_ground)).astype(np.float32)
    y = (camera.above + reach * rise).astype(np.float32)
    fine, coarse = soft_noise(rng, TILE, 60), soft_noise(rng, TILE, 9)
    return _Surfaces(reach * right, y, (reach * forward).astype(np.float32), ground, side, fine, coarse)


def _colour(value: Floats, dark: tuple[float, float, float], bright: tuple[float, float, float]) -> Floats:
    """Blend two colours by `value` in 0..1."""
    first, second = np.asarray(dark, np.float32), np.asarray(bright, np.float32)
    return first + np.clip(value, 0, 1)[..., None] * (second - first)


def _grid(value: Floats, period: float, line: float) -> Floats:
    """Mark lines of width `line` every `period` metres with 1."""
    return ((value / np.float32(period)) % 1 < line / period).astype(np.float32)


def _join(s: _Surfaces, ground: Floats, wall: Floats) -> Floats:
    shade = 1 - 0.35 * np.exp(-np.maximum(s.y, 0) / 0.25) * (1 - s.ground)  # dirt where wall meets ground
    return (ground * s.ground[..., None] + wall * ((1 - s.ground) * shade)[..., None]).astype(np.float32)


def _facade(s: _Surfaces, rng: np.random.Generator, dull: tuple[float, float, float]) -> Floats:
    """Draw a house front with rows of windows and doors."""
    phase = float(rng.uniform(0, 3))
    pane = ((s.x + phase) % 2.2 < 1.3) & (s.y % 2.6 > 0.9) & (s.y % 2.6 < 2.2)
    base = _colour(0.5 + 0.18 * s.grain(s.y, s.x, 30), tuple(0.75 * c for c in dull), dull)  # type: ignore[arg-type]
    glass = _colour(0.4 + 0.4 * np.sin(s.x * 0.9 + s.y), (0.10, 0.12, 0.15), (0.40, 0.45, 0.50))
    return np.where(pane[..., None], glass, base)


def _crossing(camera: Camera, rng: np.random.Generator) -> Floats:
    s = _trace(camera, rng, 19.0, 1e5)
    asphalt = _colour(
        0.5 + 0.16 * s.grain(s.x, s.z, 40) + 0.12 * s.grain(s.x, s.z, 12, True), (0.22,) * 3, (0.46, 0.46, 0.47)
    )
    zebra = (s.x + 0.3) % 1.1 < 0.52
    zebra &= (s.z > 7.2) & (s.z < 10.6)
    paint = _colour(0.8 + 0.15 * s.grain(s.x, s.z, 30), (0.45,) * 3, (0.82, 0.82, 0.78))
    ground = np.where(zebra[..., None], paint, asphalt)
    kerb = (s.z > 13.5).astype(np.float32)
    slabs = _colour(0.65 + 0.1 * s.grain(s.x, s.z, 30) - 0.5 * _grid(s.x, 0.8, 0.05), (0.3,) * 3, (0.66, 0.63, 0.58))
    ground = ground + kerb[..., None] * (slabs - ground)
    return _join(s, ground, _facade(s, rng, (0.62, 0.50, 0.40)))


def _park(camera: Camera, rng: np.random.Generator) -> Floats:
    s = _trace(camera, rng, 17.0, 1e5)
    grass = _colour(
        0.5 + 0.20 * s.grain(s.x, s.z, 60) + 0.18 * s.grain(s.x, s.z, 9, True), (0.10, 0.20, 0.06), (0.38, 0.52, 0.20)
    )
    gravel = _colour(0.5 + 0.17 * s.grain(s.z, s.x, 55), (0.42, 0.36, 0.28), (0.72, 0.65, 0.54))
    path = np.clip((1.6 - np.abs(s.x - 0.12 * (s.z - 8)) + 0.08 * s.grain(s.z, s.x, 20, True)) * 6, 0, 1)
    ground = grass + path[..., None] * (gravel - grass)
    leaf = 0.42 + 0.22 * s.grain(s.y, s.x, 26) + 0.22 * s.grain(s.y, s.x, 12, True)
    hedge = _colour(leaf, (0.04, 0.09, 0.03), (0.30, 0.42, 0.16))
    trunk = ((s.x + 0.4 * np.sin(s.y)) % 3.7 < 0.35) & (s.y > 0.4)
    hedge = np.where(trunk[..., None], hedge * 0.35 + np.asarray((0.12, 0.09, 0.06), np.float32), hedge)
    sky = np.clip((s.y - 2.6 + 0.5 * s.grain(s.x, s.y * 0, 8, True)) * 2.0, 0, 1)
    return _join(s, ground, hedge + sky[..., None] * (np.asarray((0.74, 0.80, 0.86), np.float32) - hedge))


def _shop(camera: Camera, rng: np.random.Generator) -> Floats:
    s = _trace(camera, rng, 10.2, 1e5)
    joint = np.maximum(_grid(s.x, 0.6, 0.03), _grid(s.z + 0.3 * np.floor(s.x / 0.6), 0.6, 0.04))
    slabs = _colour(
        0.6 + 0.10 * s.grain(s.x, s.z, 30) + 0.1 * s.grain(s.x, s.z, 6, True) - 0.45 * joint,
        (0.28, 0.26, 0.25),
        (0.72, 0.66, 0.60),
    )
    bay = np.floor((s.x + 20) / 2.7).astype(np.int32) % 6
    tone = (rng.uniform(0.2, 0.8, (6, 1)) + rng.normal(0, 0.10, (6, 3))).clip(0.1, 0.9).astype(np.float32)
    goods = tone[bay] * (0.75 + 0.25 * np.sin(s.x * 7 + s.y * 5))[..., None] + np.float32(0.1)
    lit = np.clip(1.25 - 0.22 * np.abs(s.y - 1.6), 0.4, 1.2)[..., None]
    shelf = (1 - 0.6 * _grid(s.y, 0.55, 0.06))[..., None]
    glass = (goods * lit * shelf).astype(np.float32)
    frame = ((s.x + 20) % 2.7 < 0.16) | (s.y < 0.45) | (s.y > 2.7)
    sign = (s.y > 2.75) & (s.y < 3.35)
    front = np.where(frame[..., None], np.asarray((0.20, 0.18, 0.17), np.float32), glass)
    letters = (np.sin(s.x * 11) + np.sin(s.x * 27.3) > 0.5) & (np.abs(s.y - 3.05) < 0.16)
    front = np.where(sign[..., None], tone[(bay + 2) % 6], front)
    front = np.where((sign & letters)[..., None], np.float32(0.92), front)
    return _join(s, slabs, front)


def _corridor(camera: Camera, rng: np.random.Generator) -> Floats:
    s = _trace(camera, rng, 16.0, 1.9)
    shine = 0.62 + 0.05 * s.grain(s.x, s.z, 20) + 0.22 * np.cos(s.x * 1.4) * (0.6 + 0.4 * np.cos(s.z * 1.3))
    floor = _colour(
        shine - 0.25 * np.maximum(_grid(s.x, 0.9, 0.02), _grid(s.z, 0.9, 0.04)), (0.30, 0.33, 0.32), (0.80, 0.83, 0.80)
    )
    wall = _colour(0.7 + 0.05 * s.grain(s.y, s.z, 20) - 0.03 * s.z, (0.30, 0.33, 0.32), (0.84, 0.86, 0.80))
    rail = (np.abs(s.y - 0.95) < 0.06) | (s.y < 0.12)
    wall = np.where(rail[..., None], np.asarray((0.22, 0.36, 0.40), np.float32), wall)
    door = (s.side > 0) & ((s.z + 1.0) % 3.6 < 1.1) & (s.y < 2.1)
    far = (s.side == 0) & (np.abs(s.x) < 0.95) & (s.y < 2.1)
    wall = np.where(
        door[..., None],
        np.asarray((0.50, 0.36, 0.24), np.float32) * (1 + 0.06 * s.grain(s.z, s.y, 18))[..., None],
        wall,
    )
    return _join(s, floor, np.where(far[..., None], np.asarray((0.66, 0.74, 0.78), np.float32), wall))


def _brick(camera: Camera, rng: np.random.Generator) -> Floats:
    s = _trace(camera, rng, 9.8, 1e5)
    course = np.floor(s.y / 0.12)
    mortar = np.maximum(_grid(s.y, 0.12, 0.02), _grid(s.x + 0.14 * course, 0.28, 0.02))
    tone = 0.45 + 0.28 * s.grain(course, np.floor((s.x + 0.14 * course) / 0.28), 7) + 0.10 * s.grain(s.y, s.x, 40)
    wall = _colour(tone, (0.30, 0.13, 0.09), (0.66, 0.36, 0.26))
    wall = wall + (0.75 * mortar)[..., None] * (np.asarray((0.60, 0.56, 0.52), np.float32) - wall)
    poster = ((s.x + 1.3) % 4.1 < 1.0) & (s.y > 0.9) & (s.y < 2.3)
    wall = np.where(
        poster[..., None],
        _colour(0.5 + 0.5 * np.sin(s.x * 5) * np.sin(s.y * 6), (0.15, 0.30, 0.45), (0.85, 0.78, 0.60)),
        wall,
    )
    walk = _colour(
        0.6 + 0.14 * s.grain(s.x, s.z, 45) - 0.4 * _grid(s.x, 1.5, 0.03), (0.32, 0.32, 0.33), (0.70, 0.69, 0.67)
    )
    return _join(s, walk, wall)


def _station(camera: Camera, rng: np.random.Generator) -> Floats:
    s = _trace(camera, rng, 15.0, 1e5)
    studs = _grid(s.x, 0.12, 0.05) * _grid(s.z, 0.12, 0.05)
    tiles = _colour(
        0.5 + 0.10 * s.grain(s.x, s.z, 30) - 0.3 * np.maximum(_grid(s.x, 0.5, 0.02), _grid(s.z, 0.5, 0.03)),
        (0.18, 0.17, 0.17),
        (0.50, 0.47, 0.45),
    )
    line = np.abs(s.x - 1.5 - 0.05 * s.z) < 0.22
    ground = np.where(line[..., None], _colour(0.7 - 0.5 * studs, (0.30, 0.24, 0.05), (0.85, 0.68, 0.16)), tiles)
    edge = s.x > 2.35 + 0.05 * s.z
    ground = np.where(
        edge[..., None], _colour(0.4 + 0.2 * s.grain(s.x, s.z, 35), (0.05,) * 3, (0.24, 0.22, 0.20)), ground
    )
    pool = np.exp(-((s.x + 0.8) ** 2 + (s.z - 8.5) ** 2) / 14.0)
    ground = ground * (0.65 + 0.55 * pool)[..., None]
    wall = _colour(
        0.5 + 0.1 * s.grain(s.y, s.x, 25) - 0.4 * np.maximum(_grid(s.x, 0.3, 0.02), _grid(s.y, 0.3, 0.02)),
        (0.16, 0.19, 0.20),
        (0.50, 0.52, 0.48),
    )
    return _join(s, ground, wall)


_PLACES: dict[str, Callable[[Camera, np.random.Generator], Floats]] = {
    "crossing": _crossing, "park": _park, "shop": _shop, "corridor": _corridor, "brick": _brick, "station": _station,
}  # fmt: skip


@lru_cache(maxsize=12)
def scene(seed: int, camid: int) -> Floats:
    """Draw the empty frame of a camera (camid from 1): float32 [height, width, 3] in 0..1. Do not write into it."""
    camera = CAMERAS[camid - 1]
    frame = _PLACES[camera.world](camera, np.random.default_rng([seed, 21, camid]))
    grey = frame.mean(-1, keepdims=True)
    frame = np.clip(grey + np.float32(0.8) * (frame - grey), 0, 1)
    frame.flags.writeable = False
    return frame
