"""Put a person together from tubes: legs, trunk and arms here; head, hat and bag in `extras`."""

from __future__ import annotations

from math import sqrt

from reidlab.pedestrians import clothes
from reidlab.pedestrians.extras import add_bag, add_hat, add_head
from reidlab.pedestrians.person import SKIN
from reidlab.pedestrians.pose import Point
from reidlab.pedestrians.raster import Canvas
from reidlab.pedestrians.stance import Box, Painter, Stance, oval, shift

__all__ = ["paint_figure"]

SIDES = ("left_", "right_")
LEGS = {  # half-widths of thigh, knee and cuff by stature
    "trousers": (0.055, 0.040, 0.034), "wide": (0.058, 0.050, 0.050), "slim": (0.052, 0.035, 0.025),
    "leggings": (0.051, 0.034, 0.023), "shorts": (0.060, 0.052, 0.024),
}  # fmt: skip
BARE = (0.050, 0.033, 0.022)
BULK = {"coat": 1.10, "jacket": 1.07, "hoodie": 1.07, "sweater": 1.04}
TRUNK = (  # half-width and half-depth by stature, neck to hem
    (0.040, 0.040), (0.094, 0.052), (0.112, 0.062), (0.112, 0.070), (0.106, 0.072), (0.099, 0.070),
    (0.092, 0.066), (0.090, 0.064), (0.094, 0.067), (0.099, 0.073), (0.098, 0.074),
)  # fmt: skip


def paint_figure(canvas: Canvas, stance: Stance, box: Box, zoom: float) -> None:
    """Paint the figure on a canvas that shows `box` of the frame at `zoom` canvas pixels per frame pixel."""
    painter = Painter(canvas, stance, box, zoom)
    for add in (_add_legs, _add_shoes, _add_trunk, _add_arms, add_head, add_hat, add_bag):
        add(painter)
    painter.paint()


def _shade(painter: Painter, name: str) -> float:
    """Darken the far leg: it stands in the shade of the near one."""
    other = SIDES[1 - SIDES.index(name)]
    return 0.80 if painter.at(name + "ankle")[3] > painter.at(other + "ankle")[3] + 0.08 else 1.0


def _add_legs(painter: Painter) -> None:
    person = painter.person
    k = person.stature * sqrt(person.build)
    thigh, knee, cuff = (k * part for part in LEGS.get(person.bottom, BARE))
    calf = 0.034 * k if person.bottom == "shorts" else knee
    upper, lower = clothes.leg(person, False), clothes.leg(person, True)
    for name in SIDES:
        dim = _shade(painter, name)
        painter.add(name + "hip", name + "knee", (thigh, knee), upper, wrinkle=0.05, dim=dim)
        shank = (0.94 * calf, calf + 0.004 * k, cuff)
        painter.add(name + "knee", name + "ankle", shank, lower, wrinkle=0.06, dim=dim, nearer=-0.01)


def _add_shoes(painter: Painter) -> None:
    person, h = painter.person, painter.person.stature
    leather, rubber = clothes.plain(clothes.cloth(person, person.shoe_colour)), clothes.plain((0.85, 0.85, 0.83))
    thick = (0.026 if person.shoes == "boots" else 0.021) * h
    for name in SIDES:
        heel, toe = painter.stance.body[name + "heel"], painter.stance.body[name + "toe"]
        dim = 0.95 * _shade(painter, name)
        painter.add(heel, toe, (thick, 0.8 * thick), leather, dim=dim, nearer=0.03)
        if person.shoes == "sneakers":  # a pale sole
            drop = -0.010 * h
            painter.add(shift(heel, up=drop), shift(toe, up=drop), (0.011 * h,), rubber, dim=dim, nearer=0.035)


def _add_trunk(painter: Painter) -> None:
    person, turn, body = painter.person, painter.stance.turn, painter.stance.body
    h = person.stature
    b = h * person.build * BULK.get(person.top, 1.0)
    hips = [1.0] * 8 + [person.hips] * 3
    radii = tuple(oval(turn, wide * b * hip, deep * b) for (wide, deep), hip in zip(TRUNK, hips))
    neck, hem = shift(body["neck"], up=0.004 * h), shift(body["pelvis"], up=-0.035 * h)
    painter.add(neck, hem, radii, clothes.trunk(person), caps=False, wrinkle=0.06, nearer=0.10)
    if person.bottom in ("skirt", "long skirt") or person.top == "coat":
        _add_skirt(painter, hem)


def _add_skirt(painter: Painter, hem: Point) -> None:
    """Hang a skirt, or the tail of a coat, from the hips."""
    person, turn = painter.person, painter.stance.turn
    h, b = person.stature, person.stature * person.build
    coat, long = person.top == "coat", person.bottom == "long skirt"
    drop = 0.16 if coat else 0.36 if long else 0.20
    flare = 1.12 if coat else 1.35 if long else 1.30
    bulk = BULK.get(person.top, 1.0) * b
    waist = oval(turn, 0.099 * person.hips * bulk, 0.074 * bulk)
    edge = oval(turn, 0.098 * flare * b, 0.085 * flare * b)
    cloth = clothes.plain(clothes.cloth(person, person.top_colour)) if coat else clothes.skirt(person)
    start, end = shift(hem, up=(0.02 if coat else 0.05) * h), shift(hem, up=-drop * h)
    painter.add(start, end, (waist, edge), cloth, caps=False, wrinkle=0.08, nearer=0.105 if coat else 0.095)


def _add_arms(painter: Painter) -> None:
    person = painter.person
    k = person.stature * sqrt(person.build)
    loose = 0.005 if person.top in ("jacket", "coat", "hoodie", "sweater") else 0.0
    upper, lower = clothes.sleeve(person, False), clothes.sleeve(person, True)
    fore = (0.022 + loose, 0.017 + loose) if person.sleeves == "long" else (0.021, 0.015)
    for name in SIDES:
        thick = ((0.028 + loose) * k, (0.023 + loose) * k)
        painter.add(name + "shoulder", name + "elbow", thick, upper, wrinkle=0.06, nearer=0.04)
        painter.add(name + "elbow", name + "wrist", (fore[0] * k, fore[1] * k), lower, wrinkle=0.06, nearer=0.06)
        hand = clothes.plain(SKIN[person.skin])
        painter.add(name + "wrist", name + "fingers", (0.015 * k, 0.017 * k, 0.010 * k), hand, nearer=0.05)
