"""Head, hair, hat and bag of a figure."""

from __future__ import annotations

import math

from reidlab.pedestrians import clothes
from reidlab.pedestrians.person import HAIR, SKIN
from reidlab.pedestrians.stance import Painter, Spot, oval, shift

__all__ = ["add_bag", "add_hat", "add_head"]

EGG = (0.0, 0.58, 0.80, 0.93, 0.99, 1.0, 0.98, 0.93, 0.83, 0.66, 0.30)  # outline of a head, crown to chin
DOME = (0.0, 0.62, 0.84, 0.95, 1.0)
COWL = (0.0, 0.6, 0.85, 1.0, 1.02, 0.98, 0.8)
SACK = (0.55, 0.85, 0.95, 1.0, 1.0, 0.9)


def _grow(outline: tuple[float, ...], size: float) -> tuple[float, ...]:
    return tuple(size * part for part in outline)


def add_head(painter: Painter) -> None:
    """Add neck, face and hair."""
    person, body, h = painter.person, painter.stance.body, painter.person.stature
    chin, crown = body["head"], body["crown"]
    throat = shift(chin, up=0.025 * h, forward=-0.008 * h)
    painter.add(
        shift(body["neck"], up=-0.01 * h), throat, (0.036 * h, 0.031 * h), clothes.plain(SKIN[person.skin]), dim=0.8
    )
    face = clothes.head(person, painter.stance.tilt)
    painter.add(crown, chin, _grow(EGG, oval(painter.stance.turn, 0.047, 0.054) * h), face, caps=False, nearer=0.12)
    bridge, tip = shift(chin, up=0.072 * h, forward=0.046 * h), shift(chin, up=0.055 * h, forward=0.054 * h)
    painter.add(bridge, tip, (0.005 * h, 0.009 * h), clothes.plain(SKIN[person.skin]), nearer=0.07)
    hair = clothes.plain(HAIR[person.hair_colour])
    nape = shift(chin, up=0.065 * h, forward=-0.030 * h)
    if person.hair in ("long", "bob"):
        low = shift(chin, up=(-0.095 if person.hair == "long" else 0.0) * h, forward=-0.042 * h)
        # from in front the trunk hides what hangs down the back, also for a camera that looks down on the head
        lift = 0.115 if math.cos(painter.stance.turn) < 0.2 else -0.05
        painter.add(shift(nape, up=0.02 * h), low, _grow((0.048, 0.056, 0.052, 0.034), h), hair, nearer=lift)
    elif person.hair == "bun":
        knot = shift(nape, up=0.045 * h, forward=-0.025 * h)
        painter.add(knot, shift(knot, up=-0.01 * h), (0.026 * h,), hair, nearer=0.11)
    elif person.hair == "ponytail":
        root, tip = shift(nape, up=0.02 * h, forward=-0.02 * h), shift(nape, up=-0.12 * h, forward=-0.045 * h)
        lift = 0.13 if math.cos(painter.stance.turn) < 0.2 else -0.05
        painter.add(root, tip, _grow((0.016, 0.020, 0.010), h), hair, nearer=lift)


def add_hat(painter: Painter) -> None:
    """Add a cap, a beanie, a sun hat or the hood of the hoodie."""
    person, body, h = painter.person, painter.stance.body, painter.person.stature
    if person.hat == "none":
        return
    name = person.top_colour if person.hat == "hood" else person.hat_colour
    felt = clothes.plain(clothes.cloth(person, name))
    top, rim = shift(body["crown"], up=0.010 * h), shift(body["crown"], up=-0.045 * h)
    if person.hat == "hood":
        low = shift(body["head"], up=-0.02 * h, forward=-0.02 * h)
        painter.add(shift(top, forward=-0.02 * h), low, _grow(COWL, 0.066 * h), felt, caps=False, nearer=0.105)
        return
    painter.add(top, rim, _grow(DOME, 0.055 * h), felt, caps=False, nearer=0.14)
    if person.hat == "cap":
        start, end = shift(rim, up=0.004 * h, forward=0.03 * h), shift(rim, up=-0.004 * h, forward=0.085 * h)
        painter.add(start, end, (0.034 * h, 0.026 * h), felt, dim=0.8, nearer=0.13)
    elif person.hat == "sun hat":
        brim = (0.088 * h, 0.094 * h)
        painter.add(shift(rim, up=0.008 * h), shift(rim, up=-0.008 * h), brim, felt, caps=False, dim=0.9, nearer=0.15)


def add_bag(painter: Painter) -> None:
    """Add the backpack, the shoulder bag or the handbag."""
    person = painter.person
    if person.bag == "backpack":
        _add_backpack(painter)
    elif person.bag == "shoulder bag":
        _add_shoulder_bag(painter)
    elif person.bag == "handbag":
        _add_handbag(painter)


def _add_backpack(painter: Painter) -> None:
    person, turn, h = painter.person, painter.stance.turn, painter.person.stature
    cloth = clothes.plain(clothes.cloth(person, person.bag_colour))
    spine = shift(painter.stance.body["pelvis"], forward=-0.115 * h)
    wide = oval(turn, 0.082 * h, 0.052 * h)
    top, low = shift(spine, up=0.27 * h), shift(spine, up=0.04 * h)
    painter.add(top, low, _grow(SACK, wide), cloth, caps=False, wrinkle=0.05, nearer=0.13)
    pocket = shift(spine, up=0.13 * h, forward=-0.03 * h)
    painter.add(
        pocket, shift(pocket, up=-0.08 * h), (0.72 * wide, 0.75 * wide), cloth, caps=False, dim=0.8, nearer=0.14
    )


def _add_shoulder_bag(painter: Painter) -> None:
    person, h = painter.person, painter.person.stature
    cloth = clothes.plain(clothes.cloth(person, person.bag_colour))
    hip = shift(painter.stance.body["pelvis"], person.bag_side * 0.115 * h * person.build, 0.03 * h, -0.01 * h)
    wide = oval(painter.stance.turn, 0.030 * h, 0.070 * h)
    radii = (0.9 * wide, wide, wide)
    painter.add(hip, shift(hip, up=-0.11 * h), radii, cloth, caps=False, wrinkle=0.05, nearer=0.10)


def _add_handbag(painter: Painter) -> None:
    """Hang a bag from the fingers, straight down in the image."""
    person, h = painter.person, painter.person.stature
    cloth = clothes.plain(clothes.cloth(person, person.bag_colour))
    x, y, scale, depth = painter.at(("left_" if person.bag_side == 1 else "right_") + "fingers")
    wide, tall = oval(painter.stance.turn, 0.028 * h, 0.075 * h), 0.10 * h * scale
    grip: Spot = (x, y, scale, depth)
    top: Spot = (x, y + 0.3 * tall, scale, depth)
    low: Spot = (x, y + 1.25 * tall, scale, depth)
    painter.add(grip, top, (0.3 * wide, 0.75 * wide), cloth, caps=False, dim=0.6, nearer=0.02)
    painter.add(top, low, (0.8 * wide, wide), cloth, caps=False, wrinkle=0.05, nearer=0.03)
