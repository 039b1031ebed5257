"""Draw one picture: scene, passers-by, shadow, person, occluder, then the camera's optics, and the mask beside it.

A picture depends on (seed, pid, camid, index) and its size alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi, radians

import numpy as np
import numpy.typing as npt
from PIL import Image

from reidlab.data.images import open_bytes, to_rgb
from reidlab.pedestrians.cameras import CAMERAS, FRAME, Camera
from reidlab.pedestrians.figure import paint_figure
from reidlab.pedestrians.optics import encode_jpeg, expose
from reidlab.pedestrians.person import draw_person
from reidlab.pedestrians.props import draw_prop
from reidlab.pedestrians.raster import Canvas, Floats, soft_noise
from reidlab.pedestrians.scenes import scene
from reidlab.pedestrians.spec import check_picture, check_size
from reidlab.pedestrians.stance import Box, Stance, frame_box, stand

__all__ = ["BACKGROUND", "OCCLUDER", "PERSON", "Shot", "draw_pedestrian", "shoot", "view_of"]

BACKGROUND, PERSON, OCCLUDER = 0, 1, 2
Bytes = npt.NDArray[np.uint8]
_FEET = ("left_toe", "right_toe", "left_heel", "right_heel")
_PASSERS = 8  # prepared passers-by a camera


@dataclass(frozen=True)
class Shot:
    """One finished picture: the JPEG file's bytes, the mask and what was seen."""

    jpeg: bytes
    mask: Bytes
    view: str  # front / side / back / none
    occluder: str  # name of the occluder or none


@lru_cache(maxsize=4)
def _wrinkles(seed: int) -> Floats:
    return soft_noise(np.random.default_rng([seed, 31]), 64, 5)


def view_of(turn: float) -> str:
    """Name the view of a person that is turned `turn` radians from facing the camera: front, side or back."""
    away = abs((turn + pi) % (2 * pi) - pi)
    return "front" if away < radians(50) else "back" if away > radians(130) else "side"


def draw_pedestrian(
    seed: int, pid: int, camid: int, index: int, height: int = 128, width: int = 64
) -> tuple[Bytes, Bytes]:
    """Draw one picture of a person and its mask.

    Args:
        pid: identity from 1; 0 draws a distractor (a box on nobody or on a stranger), -1 a junk box.
        camid: camera from 1 to 6.
        index: which picture of this person in this camera, from 0.

    Returns:
        The picture as decoded from its JPEG, uint8 [height, width, 3], and the mask, uint8 [height, width]:
        0 background, 1 person, 2 occluder.

    Raises:
        UserError: a number is out of range.
    """
    check_picture(seed, pid, camid, index)
    check_size(height, width)
    shot = shoot(seed, pid, camid, index, height, width)
    return np.asarray(to_rgb(open_bytes(shot.jpeg))), shot.mask


def shoot(seed: int, pid: int, camid: int, index: int, height: int, width: int) -> Shot:
    """Take one picture; see `draw_pedestrian`."""
    camera = CAMERAS[camid - 1]
    rng = np.random.default_rng([seed, 41, pid + 1, camid, index])
    stance, weather = _meet(seed, pid, camid, index, camera, rng)
    box = _detect(frame_box(stance), pid, camera, rng, width / height)
    fine = 2 if height >= 64 else 3
    zoom = fine * height / (box[3] - box[1])
    canvas = Canvas(_background(seed, camid, box, (width * fine, height * fine)), camera.light, _wrinkles(seed))
    if rng.random() < camera.passers:
        _walk_behind(canvas, seed, camid, rng)
    empty = pid == 0 and rng.random() < 0.45  # a box on nothing at all
    if not empty:
        _cast_shadow(canvas, stance, camera, box, zoom)
        canvas.cover[:] = 0
        paint_figure(canvas, stance, box, zoom)
    person = canvas.cover.copy()
    occluder, hidden = "none", np.zeros_like(person)
    if rng.random() < camera.occluded:
        occluder = camera.occluders[int(rng.integers(len(camera.occluders)))]
        hidden = _stand_before(canvas, occluder, seed, camid, rng)
    clean = Image.fromarray((np.clip(canvas.pixels, 0, 1) * 255).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BOX
    )
    image = expose(clean, camera, rng, weather)
    if empty:
        person[:] = 0
    view = "none" if empty else view_of(stance.turn)
    return Shot(encode_jpeg(image, camera, rng), _mask(person, hidden, fine), view, occluder)


def _meet(
    seed: int, pid: int, camid: int, index: int, camera: Camera, rng: np.random.Generator
) -> tuple[Stance, float]:
    """Let the person walk past the camera: one track a (pid, camera), one step of it an index."""
    stranger = 0 if pid > 0 else 1 + 2 * (index * 16 + camid) + (pid < 0)
    person = draw_person(seed, pid, stranger)
    track = np.random.default_rng([seed, 42, pid + 1, camid, stranger])
    heading = radians(camera.headings[int(track.integers(len(camera.headings)))] + float(track.normal(0, 7)))
    weather = float(track.normal(0, camera.exposure))
    lean = float(track.normal(0.03, 0.025))
    if index % 4 >= 2:  # later they turn off
        heading += radians(float(rng.choice((-50, -30, 30, 50, 180))))
    where = float(rng.uniform(*camera.across)), float(rng.uniform(*camera.away))
    phase = float(rng.uniform(0, 2 * pi))
    return stand(person, camera, where, heading + radians(float(rng.normal(0, 6))), phase, lean), weather


def _detect(tight: Box, pid: int, camera: Camera, rng: np.random.Generator, aspect: float) -> Box:
    """Put the detector's box around a figure: the wanted aspect, some margin, some error; junk boxes err a lot."""
    left, top, right, bottom = tight
    height = max(bottom - top, 0.92 * (right - left) / aspect) * (1.03 + abs(float(rng.normal(0, camera.jitter))))
    x = (left + right) / 2 + height * camera.jitter * 0.7 * float(rng.normal())
    y = (top + bottom) / 2 + height * camera.jitter * float(rng.normal())
    if pid < 0 or (pid == 0 and rng.random() < 0.7):
        height *= float(rng.choice((0.5, 0.62, 1.6)))
        x += height * float(rng.uniform(-0.22, 0.22))
        y += height * float(rng.uniform(-0.3, 0.3))
    height = min(height, 0.98 * FRAME[1], 0.98 * FRAME[0] / aspect)
    width = height * aspect
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _background(seed: int, camid: int, box: Box, size: tuple[int, int]) -> Floats:
    """Cut the box from the frame of the camera; outside the frame its border goes on."""
    width, height = size
    frame = scene(seed, camid)
    x = np.linspace(box[0], box[2], width, endpoint=False) + (box[2] - box[0]) / width / 2 - 0.5
    y = np.linspace(box[1], box[3], height, endpoint=False) + (box[3] - box[1]) / height / 2 - 0.5
    x, y = np.clip(x, 0, FRAME[0] - 1.001), np.clip(y, 0, FRAME[1] - 1.001)
    column, row = x.astype(np.int32), y.astype(np.int32)
    across = (x - column).astype(np.float32)[None, :, None]
    down = (y - row).astype(np.float32)[:, None, None]
    strip = frame[:, column[0] : column[-1] + 2]
    column = column - column[0]
    rows = strip[row] * (1 - down) + strip[row + 1] * down
    return np.asarray(rows[:, column] * (1 - across) + rows[:, column + 1] * across, np.float32)


def _cast_shadow(canvas: Canvas, stance: Stance, camera: Camera, box: Box, zoom: float) -> None:
    """Darken the ground below the feet and along the shadow."""
    height, width = canvas.cover.shape
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    ground = stance.place((0.0, 0.0, 0.0))
    px, py, metre = (ground[0] - box[0]) * zoom, (ground[1] - box[1]) * zoom, ground[2] * zoom
    flat = max(0.20, np.sin(radians(camera.pitch)) + 0.12)
    darkness = camera.shadow[2]
    shade = np.zeros((height, width), np.float32)
    for spot, reach in ((stance.place((0.0, 0.0, 0.0)), 0.34), *((stance.joints[n], 0.17) for n in _FEET)):
        across = np.exp(-(((x - (spot[0] - box[0]) * zoom) / (reach * metre)) ** 2))
        down = np.exp(-(((y - (spot[1] - box[1]) * zoom) / (reach * metre * flat)) ** 2))
        shade = np.maximum(shade, (1.4 * darkness * down).astype(np.float32) * across)
    sx, sz = camera.shadow[0] * metre, -camera.shadow[1] * metre * flat
    length = max(float(np.hypot(sx, sz)), 1e-3)
    along = ((x - px) * sx + (y - py) * sz) / length
    across = (-(x - px) * sz + (y - py) * sx) / length
    thick = np.float32(0.16 * metre * max(flat, 0.5))
    streak = (
        np.exp(-((across / thick) ** 2))
        * np.clip(along / (0.1 * metre) + 0.5, 0, 1)
        * np.clip(1.6 - along / length, 0, 1)
    )
    shade = np.maximum(shade, np.float32(1.2 * darkness) * streak)
    canvas.pixels *= (1 - np.minimum(shade, 0.75))[..., None].astype(np.float32)


@lru_cache(maxsize=16)
def _passers(seed: int, camid: int, height: int) -> tuple[tuple[Floats, Floats], ...]:
    """Prepare a few strangers of this camera as (pixels, cover) sprites of the given height."""
    camera = CAMERAS[camid - 1]
    sprites = []
    for number in range(_PASSERS):
        rng = np.random.default_rng([seed, 43, camid, number])
        person = draw_person(seed, 0, 900_000 + 100 * camid + number)
        heading = radians(camera.headings[int(rng.integers(len(camera.headings)))])
        stance = stand(person, camera, (0.0, sum(camera.away) / 2), heading, float(rng.uniform(0, 6.28)))
        box = frame_box(stance)
        zoom = height / (box[3] - box[1])
        canvas = Canvas(
            np.zeros((height, max(int((box[2] - box[0]) * zoom), 4), 3), np.float32), camera.light, _wrinkles(seed)
        )
        paint_figure(canvas, stance, box, zoom)
        sprites.append((canvas.pixels, canvas.cover))
    return tuple(sprites)


def _paste(canvas: Canvas, pixels: Floats, cover: Floats, left: int, top: int) -> Floats:
    """Lay a premultiplied sprite over the canvas; return the coverage."""
    height, width = canvas.cover.shape
    covered = np.zeros((height, width), np.float32)
    x0, x1 = max(left, 0), min(left + cover.shape[1], width)
    y0, y1 = max(top, 0), min(top + cover.shape[0], height)
    if x0 < x1 and y0 < y1:
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        region = canvas.pixels[y0:y1, x0:x1]
        region *= 1 - cover[part][..., None]
        region += pixels[part]
        covered[y0:y1, x0:x1] = cover[part]
    return covered


def _walk_behind(canvas: Canvas, seed: int, camid: int, rng: np.random.Generator) -> None:
    """Let a blurred stranger pass behind."""
    height, width = canvas.cover.shape
    tall = int(height * (0.5, 0.62, 0.74)[int(rng.integers(3))])
    pixels, cover = _passers(seed, camid, tall)[int(rng.integers(_PASSERS))]
    side = -1 if rng.random() < 0.5 else 1
    centre = width / 2 + side * width * float(rng.uniform(0.28, 0.55))
    _paste(canvas, pixels, cover, int(centre - cover.shape[1] / 2), int(height * 0.80) - tall)


def _stand_before(canvas: Canvas, kind: str, seed: int, camid: int, rng: np.random.Generator) -> Floats:
    """Put an occluder in front; return the coverage."""
    height, width = canvas.cover.shape
    if kind == "walker":
        tall = int(height * 1.2)
        pixels, cover = _passers(seed, camid, tall)[int(rng.integers(_PASSERS))]
        centre = width / 2 + (-1 if rng.random() < 0.5 else 1) * width * float(rng.uniform(0.38, 0.60))
        return _paste(canvas, pixels, cover, int(centre - cover.shape[1] / 2), int(height * 0.06))
    layer = np.asarray(draw_prop(kind, width, height, rng), np.float32) / np.float32(255)
    cover = layer[..., 3]
    light = np.float32(canvas.light.ambient + 0.7 * canvas.light.diffuse)
    return _paste(canvas, layer[..., :3] * cover[..., None] * light, cover, 0, 0)


def _mask(person: Floats, hidden: Floats, fine: int) -> Bytes:
    """Average cover over each output pixel and name what holds at least half of it."""
    height, width = person.shape[0] // fine, person.shape[1] // fine
    blocks = (height, fine, width, fine)
    covered, front = person.reshape(blocks).mean((1, 3)), hidden.reshape(blocks).mean((1, 3))
    mask = np.where(covered >= 0.5, PERSON, BACKGROUND).astype(np.uint8)
    mask[front >= 0.5] = OCCLUDER
    return mask
