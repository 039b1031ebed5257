"""Things that stand in front of people: poles, bins, railings, cars, leaves, benches, signs, trolleys."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["PROPS", "draw_prop"]

Brush = ImageDraw.ImageDraw
RGB = tuple[int, int, int]


def _dye(rng: np.random.Generator, low: int = 20, high: int = 210) -> RGB:
    tone = float(rng.integers(low, high))
    red, green, blue = (int(np.clip(tone + v, 0, 255)) for v in rng.normal(0, 28, 3))
    return red, green, blue


def _lit(colour: RGB, factor: float) -> RGB:
    red, green, blue = (int(min(c * factor, 255)) for c in colour)
    return red, green, blue


def _pole(draw: Brush, w: int, h: int, rng: np.random.Generator) -> None:
    x, thick = float(rng.uniform(0.15, 0.85)) * w, float(rng.uniform(0.07, 0.15)) * w
    base = _dye(rng, 40, 150)
    for step in range(6):  # lit as a round post
        factor = 0.6 + 0.7 * np.sin(np.pi * (step + 0.7) / 6.4)
        draw.rectangle((x + thick * step / 6, 0, x + thick * (step + 1) / 6, h), fill=(*_lit(base, factor), 255))


def _bin(draw: Brush, w: int, h: int, rng: np.random.Generator) -> None:
    wide, top = float(rng.uniform(0.35, 0.55)) * w, float(rng.uniform(0.66, 0.8)) * h
    x = float(rng.uniform(-0.1, 0.7)) * w
    base = _dye(rng, 30, 120)
    for step in range(8):
        factor = 0.55 + 0.6 * np.sin(np.pi * (step + 0.7) / 8.4)
        draw.rectangle((x + wide * step / 8, top, x + wide * (step + 1) / 8, h), fill=(*_lit(base, factor), 255))
    draw.ellipse((x - 0.03 * w, top - 0.03 * h, x + wide + 0.03 * w, top + 0.03 * h), fill=(*_lit(base, 0.45), 255))


def _railing(draw: Brush, w: int, h: int, rng: np.random.Generator) -> None:
    top, base = float(rng.uniform(0.58, 0.74)) * h, _dye(rng, 60, 190)
    gap, bar = float(rng.uniform(0.2, 0.3)) * w, max(int(0.035 * w), 1)
    for rail in (top, top + 0.16 * h):
        draw.rectangle((0, rail, w, rail + 1.2 * bar), fill=(*base, 255))
    x = float(rng.uniform(0, 0.3)) * w
    while x < w:
        draw.rectangle((x, top, x + bar, h), fill=(*_lit(base, 0.85), 255))
        x += gap


def _car(draw: Brush, w: int, h: int, rng: np.random.Generator) -> None:
    top, base, flip = float(rng.uniform(0.68, 0.82)) * h, _dye(rng), bool(rng.random() < 0.5)
    nose = float(rng.uniform(0.1, 0.6)) * w
    outline = [
        (nose, top + 0.1 * h),
        (nose + 0.35 * w, top + 0.02 * h),
        (1.3 * w, top - 0.01 * h),
        (1.3 * w, h),
        (nose - 0.04 * w, h),
        (nose - 0.06 * w, top + 0.16 * h),
    ]
    shine = [
        (nose, top + 0.1 * h),
        (nose + 0.35 * w, top + 0.02 * h),
        (1.3 * w, top - 0.01 * h),
        (1.3 * w, top + 0.05 * h),
        (nose + 0.1 * w, top + 0.12 * h),
    ]
    lamp = (nose, top + 0.13 * h, nose + 0.16 * w, top + 0.18 * h)
    if flip:
        outline, shine = [(w - x, y) for x, y in outline], [(w - x, y) for x, y in shine]
        lamp = (w - lamp[2], lamp[1], w - lamp[0], lamp[3])
    draw.polygon(outline, fill=(*_lit(base, 0.75), 255))
    draw.polygon(shine, fill=(*_lit(base, 1.25), 255))
    draw.ellipse(lamp, fill=(235, 230, 205, 255))


def _leaves(draw: Brush, w: int, h: int, rng: np.random.Generator) -> None:
    low = bool(rng.random() < 0.6)
    centre = (float(rng.uniform(0, 1)) * w, (0.97 if low else 0.05) * h)
    for _ in range(90):
        x, y = centre[0] + rng.normal(0, 0.30) * w, centre[1] + rng.normal(0, 0.075) * h
        size = float(rng.uniform(0.03, 0.08)) * w
        green = float(rng.uniform(0.5, 1.4))
        draw.ellipse((x - size, y - 0.6 * size, x + size, y + 0.6 * size), fill=(*_lit((48, 78, 30), green), 255))


def _bench(draw: Brush, w: int, h: int, rng: np.random.Generator) -> None:
    top, wood = float(rng.uniform(0.70, 0.80)) * h, _lit((120, 82, 50), float(rng.uniform(0.6, 1.3)))
    for slat in range(3):
        y = top + slat * 0.05 * h
        draw.rectangle((0, y, w, y + 0.032 * h), fill=(*_lit(wood, 1.1 - 0.12 * slat), 255))
    for x in (0.1 * w, 0.85 * w):
        draw.rectangle((x, top, x + 0.07 * w, h), fill=(45, 45, 48, 255))


def _sign(draw: Brush, w: int, h: int, rng: np.random.Generator) -> None:
    x, top = float(rng.uniform(-0.1, 0.6)) * w, float(rng.uniform(0.55, 0.7)) * h
    wide, base = float(rng.uniform(0.4, 0.55)) * w, _dye(rng, 60, 250)
    draw.polygon([(x + 0.05 * w, top), (x + wide - 0.05 * w, top), (x + wide, h), (x, h)], fill=(*base, 255))
    for line in range(3):
        y = top + (0.05 + 0.07 * line) * h
        draw.rectangle((x + 0.12 * w, y, x + wide - 0.12 * w, y + 0.025 * h), fill=(*_lit(base, 0.35), 255))


def _trolley(draw: Brush, w: int, h: int, rng: np.random.Generator) -> None:
    x, top = float(rng.uniform(-0.1, 0.55)) * w, float(rng.uniform(0.62, 0.74)) * h
    wide, base = float(rng.uniform(0.4, 0.6)) * w, _dye(rng, 30, 170)
    draw.rectangle((x, top + 0.08 * h, x + wide, 0.96 * h), fill=(*base, 255))
    draw.rectangle((x, top + 0.08 * h, x + wide, top + 0.11 * h), fill=(*_lit(base, 1.4), 255))
    draw.rectangle((x + 0.05 * w, top - 0.05 * h, x + 0.09 * w, top + 0.08 * h), fill=(70, 70, 74, 255))
    draw.rectangle((x + wide - 0.09 * w, top - 0.05 * h, x + wide - 0.05 * w, top + 0.08 * h), fill=(70, 70, 74, 255))
    draw.rectangle((x + 0.05 * w, top - 0.06 * h, x + wide - 0.05 * w, top - 0.035 * h), fill=(40, 40, 44, 255))
    for wheel in (x + 0.06 * w, x + wide - 0.16 * w):
        draw.ellipse((wheel, 0.94 * h, wheel + 0.10 * w, 0.99 * h), fill=(20, 20, 20, 255))


PROPS: dict[str, Callable[[Brush, int, int, np.random.Generator], None]] = {
    "pole": _pole, "bin": _bin, "railing": _railing, "car": _car,
    "leaves": _leaves, "bench": _bench, "sign": _sign, "trolley": _trolley,
}  # fmt: skip


def draw_prop(kind: str, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Draw an occluder on a transparent RGBA picture of the given size."""
    layer = Image.new("RGBA", (width, height))
    PROPS[kind](ImageDraw.Draw(layer), width, height, rng)
    return layer.filter(ImageFilter.GaussianBlur(height / 400))
