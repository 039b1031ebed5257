"""What cloth, skin and hair look like: colours as functions of the angle around the body and the place along it."""

from __future__ import annotations

from functools import partial

import numpy as np

from reidlab.pedestrians.person import COLOURS, HAIR, SKIN, Person
from reidlab.pedestrians.raster import Floats, Texture

__all__ = ["cloth", "head", "leg", "plain", "skirt", "sleeve", "trunk"]

RGB = tuple[float, float, float]


def cloth(person: Person, name: str) -> RGB:
    """Return the person's dye of a named clothes colour."""
    red, green, blue = COLOURS[name]
    return red * person.tint[0], green * person.tint[1], blue * person.tint[2]


def plain(colour: RGB) -> Texture:
    """Make a texture of one colour."""
    flat = np.asarray(colour, np.float32)
    return lambda angle, along: flat


def _mix(base: RGB, accent: RGB, weight: Floats) -> Floats:
    first, second = np.asarray(base, np.float32), np.asarray(accent, np.float32)
    return first + weight[..., None] * (second - first)


def _wrap(angle: Floats) -> Floats:
    return (angle + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi)


def _soft(value: Floats, steep: float) -> Floats:
    """Step from 0 to 1 where `value` crosses 0, over about 1 / steep."""
    return np.clip(value * np.float32(steep) + 0.5, 0, 1)


def _pattern(name: str, angle: Floats, along: Floats) -> Floats:
    """Weigh the accent colour (0..1) of a pattern on the trunk; angle 0 is the breast bone."""
    front = np.abs(angle)
    if name == "hoops":
        return _soft(np.sin(along * np.float32(26.0)), 2.5)
    if name == "pinstripes":
        return _soft(np.sin(angle * 9.0) - 0.1, 2.0)
    if name == "checks":
        bars = _soft(np.sin(angle * 6.5), 2.5) + _soft(np.sin(along * np.float32(24.0)), 2.5)
        return bars * 0.5
    if name == "dots":
        return _soft(np.sin(angle * 8.0) * np.sin(along * np.float32(32.0)) - 0.35, 4.0)
    if name == "logo":
        return _soft(0.50 - front, 9.0) * _soft(0.11 - np.abs(along - np.float32(0.34)), 25.0)
    if name == "back print":
        return _soft(0.75 - (np.pi - front), 8.0) * _soft(0.17 - np.abs(along - np.float32(0.38)), 25.0)
    if name == "block":
        return _soft(along - np.float32(0.52), 40.0)
    if name == "yoke":
        return _soft(np.float32(0.30) - along, 40.0)
    if name == "sash":
        return _soft(0.16 - np.abs(along - 0.48 - 0.27 * np.sin(angle)), 25.0)
    return np.zeros(np.broadcast(angle, along).shape, np.float32)


def _trunk(person: Person, angle: Floats, along: Floats) -> Floats:
    angle = _wrap(angle)
    front = np.abs(angle)
    colours: Floats
    base, accent = cloth(person, person.top_colour), cloth(person, person.accent_colour)
    if person.top in ("jacket", "coat", "vest"):  # open over something in the accent colour
        gap = 0.16 + 0.34 * along if person.top == "jacket" else 0.42 - 0.30 * along
        return _mix(base, accent, _soft(gap - front, 9.0))
    colours = _mix(base, accent, _pattern(person.top_pattern, angle, along))
    if person.top == "shirt":  # button band and collar
        colours = colours * (1 - 0.25 * _soft(0.07 - front, 14.0))[..., None]
        colours = colours * (1 - 0.2 * _soft(np.float32(0.07) - along, 40.0))[..., None]
    elif person.top in ("tee", "dress"):  # neckline
        skin: Floats = np.asarray(SKIN[person.skin], np.float32)
        bare = _soft(0.10 - along - 0.10 * front, 25.0)[..., None]
        colours = colours + bare * (skin - colours)
    elif person.top == "hoodie":  # pouch and zip
        pouch = _soft(0.6 - front, 9.0) * _soft(0.10 - np.abs(along - np.float32(0.72)), 25.0)
        colours = colours * (1 - 0.22 * pouch)[..., None]
    if person.top == "dress":  # belt
        colours = colours * (1 - 0.45 * _soft(0.03 - np.abs(along - np.float32(0.66)), 40.0))[..., None]
    return colours


def _straps(person: Person, angle: Floats, along: Floats) -> Floats:
    """Paint the straps of a bag over the trunk."""
    colours = _trunk(person, angle, along)
    angle = _wrap(angle)
    strap: Floats
    if person.bag == "backpack":
        strap = _soft(0.13 - np.abs(np.abs(angle) - 0.62), 12.0) * _soft(np.float32(0.52) - along, 30.0)
    else:
        slope = np.sin(angle) * person.bag_side
        strap = _soft(0.055 - np.abs(along - 0.46 - 0.40 * slope), 25.0)
    dark = np.asarray(cloth(person, person.bag_colour), np.float32) * np.float32(0.8)
    return colours + strap[..., None] * (dark - colours)


def trunk(person: Person) -> Texture:
    """Dress the trunk from neck to hem, bag straps included."""
    strapped = person.bag in ("backpack", "shoulder bag")
    return partial(_straps if strapped else _trunk, person)


def sleeve(person: Person, lower: bool) -> Texture:
    """Dress an upper or lower arm; skin shows below the end of the sleeve."""
    skin = SKIN[person.skin]
    dyed = cloth(person, person.top_colour)
    if person.top_pattern == "yoke" and person.top in ("tee", "sweater", "hoodie"):
        dyed = cloth(person, person.accent_colour)
    if person.sleeves == "none" or (person.sleeves == "short" and lower):
        return plain(skin)
    if person.sleeves == "short":
        return lambda angle, along: _mix(dyed, skin, _soft(along - np.float32(0.62), 14.0))
    if person.top in ("sweater", "tee", "hoodie") and person.top_pattern == "hoops":
        accent = cloth(person, person.accent_colour)
        return lambda angle, along: _mix(dyed, accent, _soft(np.sin(along * np.float32(14.0)), 2.5))
    return plain(dyed)


def leg(person: Person, lower: bool) -> Texture:
    """Dress a thigh or a shank: trousers, shorts, bare legs or tights, socks and boots."""
    skin, dyed = SKIN[person.skin], cloth(person, person.bottom_colour)
    boot = cloth(person, person.shoe_colour)
    if person.bottom in ("shorts", "skirt", "long skirt"):
        if lower and person.shoes == "boots":
            return lambda angle, along: _mix(skin, boot, _soft(along - np.float32(0.35), 14.0))
        if lower or person.bottom != "shorts":
            return plain(skin)
        return lambda angle, along: _mix(dyed, skin, _soft(along - np.float32(0.86), 14.0))
    accent = cloth(person, person.accent_colour)
    if person.bottom_pattern == "side stripe":
        return lambda angle, along: _mix(dyed, accent, _soft(0.42 - np.abs(np.abs(_wrap(angle)) - np.pi / 2), 6.0))
    if person.bottom_pattern == "faded" and not lower:
        return lambda angle, along: _mix(dyed, (0.8, 0.82, 0.85), 0.35 * np.cos(_wrap(angle)).clip(0, 1))
    if person.bottom_pattern == "checks":
        return lambda angle, along: _mix(
            dyed, accent, 0.4 * _soft(np.sin(angle * 5), 2.5) + 0.4 * _soft(np.sin(along * np.float32(20.0)), 2.5)
        )
    if person.bottom_pattern == "hem" and lower:
        return lambda angle, along: _mix(dyed, accent, _soft(along - np.float32(0.72), 16.0))
    if lower and person.shoes == "boots" and person.bottom in ("slim", "leggings"):
        return lambda angle, along: _mix(dyed, boot, _soft(along - np.float32(0.4), 14.0))
    return plain(dyed)


def skirt(person: Person) -> Texture:
    """Dress the hips in a skirt with pleats, or the tail of a coat or dress."""
    dyed, accent = cloth(person, person.bottom_colour), cloth(person, person.accent_colour)

    def paint(angle: Floats, along: Floats) -> Floats:
        band: Floats = np.zeros(np.broadcast(angle, along).shape, np.float32)
        if person.bottom_pattern in ("hem", "side stripe"):
            band = band + _soft(along - np.float32(0.80), 30.0)
        elif person.bottom_pattern == "checks":
            band = band + 0.5 * _soft(np.sin(angle * 7), 2.5) + 0.5 * _soft(np.sin(along * np.float32(18.0)), 2.5)
        return _mix(dyed, accent, band) * (0.93 + 0.07 * np.sin(angle * 11.0))[..., None]

    return paint


def head(person: Person, tilt: float) -> Texture:
    """Paint hair and face on the head, crown to chin; `tilt` is the camera's pitch: from above, more hair shows."""
    skin, hair = SKIN[person.skin], HAIR[person.hair_colour]
    crop = {"bald": -1.5, "crop": 0.0}.get(person.hair, 0.04)

    def paint(angle: Floats, along: Floats) -> Floats:
        front = np.abs(_wrap(angle))
        along = along - np.float32(0.28 * tilt)
        line = 0.27 + crop + 0.48 * np.clip((front - 0.75) / 0.8, 0, 1)
        colours = _mix(skin, hair, _soft(line - along, 14.0))
        eyes = _soft(0.17 - np.abs(front - 0.40), 9.0) * _soft(0.055 - np.abs(along - np.float32(0.50)), 24.0)
        brow = _soft(0.22 - np.abs(front - 0.40), 9.0) * _soft(0.03 - np.abs(along - np.float32(0.41)), 24.0)
        mouth = _soft(0.24 - front, 8.0) * _soft(0.03 - np.abs(along - np.float32(0.79)), 24.0)
        nose = _soft(0.09 - np.abs(front - 0.13), 9.0) * _soft(0.07 - np.abs(along - np.float32(0.62)), 16.0)
        dark = np.clip(0.55 * eyes + 0.30 * brow + 0.30 * mouth + 0.16 * nose, 0, 0.7)
        colours = colours * (1 - dark)[..., None]
        if person.beard:
            jaw = _soft(along - np.float32(0.68), 12.0) * _soft(1.35 - front, 6.0) * np.float32(0.8)
            colours = colours + jaw[..., None] * (np.asarray(hair, np.float32) - colours)
        return np.asarray(colours, np.float32)

    return paint
