"""Put a person together: body parts as tubes, projected by a camera, painted from far to near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import atan2, cos, radians, sin, sqrt

from reidlab.data.pedestrians import clothes
from reidlab.data.pedestrians.cameras import Camera
from reidlab.data.pedestrians.person import HAIR, SKIN, Person
from reidlab.data.pedestrians.pose import Point, walk_joints
from reidlab.data.pedestrians.raster import Canvas, Texture

__all__ = ["Box", "Stance", "frame_box", "paint_figure", "stand"]

Box = tuple[float, float, float, float]  # left, top, right, bottom in frame pixels
SIDES = (("left_", 1), ("right_", -1))


@dataclass(frozen=True)
class Stance:
    """A person in the frame of a camera: joints (frame x, y, pixels a metre, distance), heading against the view."""

    person: Person
    joints: dict[str, tuple[float, float, float, float]]
    turn: float  # radians; 0 faces the camera
    tilt: float  # radians the camera looks down on the person
    place: Callable[[Point], tuple[float, float, float, float]]  # body point -> frame


def stand(
    person: Person, camera: Camera, where: tuple[float, float], heading: float, phase: float, lean: float = 0.03
) -> Stance:
    """Stand a person on the ground at (X, Z), walking towards `heading` radians (0 comes to the camera)."""
    c, s = cos(heading), sin(heading)

    def place(point: Point) -> tuple[float, float, float, float]:
        left, up, forward = point
        x, z = where[0] + left * c + forward * s, where[1] + left * s - forward * c
        u, v, scale = camera.project(x, up, z)
        return u, v, scale, camera.focal / scale

    bent = 0.0 if person.bag != "shoulder bag" else 0.7
    joints = {name: place(point) for name, point in walk_joints(person, phase, lean=lean, bent=bent).items()}
    turn = heading - atan2(-where[0], where[1])
    tilt = radians(camera.pitch) + atan2(0.0, 1.0)
    return Stance(person, joints, turn, tilt, place)


def frame_box(stance: Stance) -> Box:
    """Bound the whole figure in frame pixels."""
    pad = 0.055 * stance.person.stature
    xs = [j[0] for j in stance.joints.values()]
    ys = [j[1] for j in stance.joints.values()]
    scale = stance.joints["chest"][2]
    return min(xs) - pad * scale, min(ys) - 0.3 * pad * scale, max(xs) + pad * scale, max(ys) + 0.5 * pad * scale


class _Painter:
    """Collects parts of one figure with their distance, then paints them from far to near."""

    def __init__(self, canvas: Canvas, stance: Stance, box: Box, zoom: float) -> None:
        self.canvas, self.stance, self.box, self.zoom = canvas, stance, box, zoom
        self.person = stance.person
        self.parts: list[tuple[float, Callable[[], None]]] = []

    def at(self, joint: str | Point) -> tuple[float, float, float, float]:
        """Give canvas x, y, canvas pixels a metre and distance of a joint or body point."""
        u, v, scale, depth = self.stance.joints[joint] if isinstance(joint, str) else self.stance.place(joint)
        return (u - self.box[0]) * self.zoom, (v - self.box[1]) * self.zoom, scale * self.zoom, depth

    def add(
        self,
        start: str | Point,
        end: str | Point,
        radii: tuple[float, ...],
        texture: Texture,
        *,
        nearer: float = 0.0,
        caps: bool = True,
        wrinkle: float = 0.0,
        dim: float = 1.0,
        turn: float = 0.0,
    ) -> None:
        """Note a tube from start to end with radii in metres; `nearer` metres lifts it in the painting order."""
        a, b = self.at(start), self.at(end)
        scale = (a[2] + b[2]) / 2
        widths = tuple(radius * scale for radius in radii)
        angle = self.stance.turn + turn

        def paint() -> None:
            self.canvas.tube(a[:2], b[:2], widths, texture, turn=angle, caps=caps, wrinkle=wrinkle, dim=dim)

        self.parts.append(((a[3] + b[3]) / 2 - nearer, paint))

    def paint(self) -> None:
        for _, paint in sorted(self.parts, key=lambda part: -part[0]):
            paint()


def _oval(turn: float, wide: float, deep: float) -> float:
    """Half-width of an oval trunk seen under `turn`."""
    return sqrt((wide * cos(turn)) ** 2 + (deep * sin(turn)) ** 2)


def paint_figure(canvas: Canvas, stance: Stance, box: Box, zoom: float) -> None:
    """Paint the figure on a canvas that shows `box` of the frame at `zoom` canvas pixels a frame pixel."""
    painter = _Painter(canvas, stance, box, zoom)
    _add_legs(painter)
    _add_trunk(painter)
    _add_arms(painter)
    _add_head(painter)
    _add_bag(painter)
    painter.paint()


def _add_legs(painter: _Painter) -> None:
    person = painter.person
    h, k = person.stature, person.stature * sqrt(person.build)
    thigh, knee, cuff = {
        "trousers": (0.055, 0.040, 0.034), "wide": (0.058, 0.050, 0.050), "slim": (0.052, 0.035, 0.025),
        "leggings": (0.051, 0.034, 0.023), "shorts": (0.060, 0.052, 0.024),
    }.get(person.bottom, (0.050, 0.033, 0.022))  # fmt: skip
    for name, side in SIDES:
        hip, ankle = painter.at(name + "hip"), painter.at(name + "ankle")
        other = painter.at(("right_" if side == 1 else "left_") + "ankle")
        dim = 0.80 if ankle[3] > other[3] + 0.08 else 1.0  # the far leg stands in the shade of the near one
        calf = 0.034 if person.bottom == "shorts" else knee
        painter.add(
            name + "hip", name + "knee", (thigh * k, knee * k), clothes.leg(person, False), wrinkle=0.05, dim=dim
        )
        painter.add(
            name + "knee", name + "ankle", (calf * k * 0.94, (calf + 0.004) * k, cuff * k),
            clothes.leg(person, True), wrinkle=0.06, dim=dim, nearer=-0.01,
        )  # fmt: skip
        del hip
        shoe = clothes.plain(clothes.cloth(person, person.shoe_colour))
        sole = 0.026 if person.shoes == "boots" else 0.022
        painter.add(name + "heel", name + "toe", (sole * h, sole * h * 0.85), shoe, dim=0.95 * dim, nearer=0.03)
        if person.shoes == "sneakers":
            painter.add(
                name + "heel", name + "toe", (0.012 * h, 0.011 * h), clothes.plain((0.85, 0.85, 0.83)), nearer=0.035
            )


def _add_trunk(painter: _Painter) -> None:
    person, turn = painter.person, painter.stance.turn
    h, b = person.stature, person.stature * person.build
    bulk = {"coat": 1.10, "jacket": 1.07, "hoodie": 1.07, "sweater": 1.04}.get(person.top, 1.0)
    outline = (
        (0.036, 0.040), (0.085, 0.052), (0.112, 0.062), (0.110, 0.070), (0.104, 0.072), (0.097, 0.070),
        (0.090, 0.066), (0.089, 0.064), (0.094 * person.hips, 0.067), (0.099 * person.hips, 0.073),
        (0.098 * person.hips, 0.074),
    )  # fmt: skip
    radii = tuple(_oval(turn, wide * b * bulk, deep * b * bulk) for wide, deep in outline)
    pelvis = painter.at("pelvis")
    del pelvis
    neck, hem = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    joints = walk_anchor(painter)
    neck = (joints["neck"][0], joints["neck"][1] + 0.004 * h, joints["neck"][2])
    hem = (joints["pelvis"][0], joints["pelvis"][1] - 0.035 * h, joints["pelvis"][2])
    painter.add(neck, hem, radii, clothes.trunk(person), caps=False, wrinkle=0.06, nearer=0.10)
    if person.bottom in ("skirt", "long skirt") or person.top == "coat":
        _add_skirt(painter, hem, bulk)


def walk_anchor(painter: _Painter) -> dict[str, Point]:
    """Place the trunk's ends in body axes (they do not depend on the phase but for a small sway)."""
    h = painter.person.stature
    rise = 0.525 * h
    return {
        "pelvis": (0.0, rise, 0.0),
        "neck": (0.0, rise + 0.318 * h, 0.012 * h),
        "head": (0.0, rise + 0.345 * h, 0.024 * h),
        "crown": (0.0, rise + 0.478 * h, 0.024 * h),
    }


def _add_skirt(painter: _Painter, hem: Point, bulk: float) -> None:
    person, turn = painter.person, painter.stance.turn
    h, b = person.stature, person.stature * person.build
    coat = person.top == "coat"
    drop = 0.16 * h if coat else (0.36 * h if person.bottom == "long skirt" else 0.20 * h)
    flare = 1.12 if coat else (1.35 if person.bottom == "long skirt" else 1.30)
    top, low = (0.099 * person.hips, 0.074), (0.098 * flare, 0.085 * flare)
    radii = (_oval(turn, top[0] * b * bulk, top[1] * b * bulk), _oval(turn, low[0] * b, low[1] * b))
    waist = (hem[0], hem[1] + (0.02 if coat else 0.05) * h, hem[2])
    end = (hem[0], hem[1] - drop, hem[2])
    texture = clothes.plain(clothes.cloth(person, person.top_colour)) if coat else clothes.skirt(person)
    painter.add(waist, end, radii, texture, caps=False, wrinkle=0.08, nearer=0.095 if not coat else 0.105)


def _add_arms(painter: _Painter) -> None:
    person = painter.person
    k = person.stature * sqrt(person.build)
    loose = 0.007 if person.top in ("jacket", "coat", "hoodie", "sweater") else 0.0
    for name, _ in SIDES:
        upper = ((0.031 + loose) * k, (0.024 + loose) * k)
        fore = (0.023 + loose) * k, (0.017 + loose) * k
        if person.sleeves != "long":
            fore = (0.022 * k, 0.015 * k)
        painter.add(name + "shoulder", name + "elbow", upper, clothes.sleeve(person, False), wrinkle=0.06, nearer=0.04)
        painter.add(name + "elbow", name + "wrist", fore, clothes.sleeve(person, True), wrinkle=0.06, nearer=0.06)
        painter.add(
            name + "wrist", name + "fingers", (0.016 * k, 0.012 * k), clothes.plain(SKIN[person.skin]), nearer=0.05
        )


def _add_head(painter: _Painter) -> None:
    person, h = painter.person, painter.person.stature
    skin, hair = SKIN[person.skin], clothes.plain(HAIR[person.hair_colour])
    anchor = walk_anchor(painter)
    chin, crown = anchor["head"], anchor["crown"]
    painter.add(
        anchor["neck"], (chin[0], chin[1] + 0.02 * h, chin[2]), (0.034 * h, 0.031 * h), clothes.plain(skin), dim=0.8
    )
    egg = tuple(0.050 * h * e for e in (0.0, 0.58, 0.80, 0.93, 0.99, 1.0, 0.98, 0.93, 0.83, 0.66, 0.30))
    painter.add(crown, chin, egg, clothes.head(person, painter.stance.tilt), caps=False, nearer=0.12)
    mid, back = (chin[1] + crown[1]) / 2, chin[2] - 0.030 * h
    if person.hair in ("long", "bob"):
        low = chin[1] - (0.095 if person.hair == "long" else 0.0) * h
        painter.add(
            (0.0, mid + 0.02 * h, back),
            (0.0, low, back - 0.012 * h),
            (0.048 * h, 0.056 * h, 0.052 * h, 0.034 * h),
            hair,
            nearer=0.115,
        )
    elif person.hair == "bun":
        spot = (0.0, mid + 0.045 * h, back - 0.025 * h)
        painter.add(spot, (0.0, spot[1] - 0.01 * h, spot[2]), (0.026 * h,), hair, nearer=0.11)
    elif person.hair == "ponytail":
        painter.add(
            (0.0, mid + 0.02 * h, back - 0.02 * h),
            (0.0, mid - 0.12 * h, back - 0.045 * h),
            (0.016 * h, 0.020 * h, 0.010 * h),
            hair,
            nearer=0.13,
        )
    _add_hat(painter, crown, chin)


def _add_hat(painter: _Painter, crown: Point, chin: Point) -> None:
    person, h = painter.person, painter.person.stature
    if person.hat == "none":
        return
    dyed = clothes.plain(clothes.cloth(person, person.top_colour if person.hat == "hood" else person.hat_colour))
    top = (crown[0], crown[1] + 0.010 * h, crown[2])
    dome = tuple(0.056 * h * e for e in (0.0, 0.62, 0.84, 0.95, 1.0))
    rim = (crown[0], crown[1] - 0.045 * h, crown[2])
    if person.hat == "hood":
        round_ = tuple(0.066 * h * e for e in (0.0, 0.6, 0.85, 1.0, 1.02, 0.98, 0.8))
        painter.add(
            (top[0], top[1], top[2] - 0.02 * h),
            (chin[0], chin[1] - 0.02 * h, chin[2] - 0.02 * h),
            round_,
            dyed,
            caps=False,
            nearer=0.105,
        )
        return
    painter.add(top, rim, dome, dyed, caps=False, nearer=0.14)
    if person.hat == "cap":
        painter.add(
            (0.0, rim[1] + 0.004 * h, rim[2] + 0.03 * h),
            (0.0, rim[1] - 0.004 * h, rim[2] + 0.085 * h),
            (0.034 * h, 0.026 * h),
            dyed,
            dim=0.8,
            nearer=0.13,
        )
    elif person.hat == "sun hat":
        painter.add(
            (0.0, rim[1] + 0.008 * h, rim[2]),
            (0.0, rim[1] - 0.008 * h, rim[2]),
            (0.095 * h, 0.100 * h),
            dyed,
            caps=False,
            dim=0.9,
            nearer=0.15,
        )


def _add_bag(painter: _Painter) -> None:
    person, h = painter.person, painter.person.stature
    if person.bag == "none":
        return
    dyed = clothes.plain(clothes.cloth(person, person.bag_colour))
    anchor, turn = walk_anchor(painter), painter.stance.turn
    hip = anchor["pelvis"][1]
    if person.bag == "backpack":
        back = -0.115 * h
        wide = _oval(turn, 0.082 * h, 0.052 * h)
        painter.add(
            (0.0, hip + 0.27 * h, back),
            (0.0, hip + 0.04 * h, back),
            tuple(wide * e for e in (0.55, 0.85, 0.95, 1.0, 1.0, 0.9)),
            dyed,
            caps=False,
            wrinkle=0.05,
            nearer=0.13,
        )
        painter.add(
            (0.0, hip + 0.13 * h, back - 0.03 * h),
            (0.0, hip + 0.05 * h, back - 0.03 * h),
            (wide * 0.72, wide * 0.75),
            dyed,
            caps=False,
            dim=0.85,
            nearer=0.14,
        )
    elif person.bag == "shoulder bag":
        out = person.bag_side * (0.115 * h * person.build)
        wide = _oval(turn, 0.030 * h, 0.070 * h)
        painter.add(
            (out, hip + 0.03 * h, -0.01 * h),
            (out, hip - 0.08 * h, -0.01 * h),
            (wide * 0.9, wide, wide),
            dyed,
            caps=False,
            wrinkle=0.05,
            nearer=0.10,
        )
    else:
        name = "left_" if person.bag_side == 1 else "right_"
        x, y, scale, depth = painter.at(name + "fingers")
        wide, tall = _oval(turn, 0.028 * h, 0.075 * h) * scale, 0.10 * h * scale
        paint = painter.canvas.tube
        handle, body = (x, y + 0.3 * tall), (x, y + 1.25 * tall)
        painter.parts.append(
            (
                depth - 0.02,
                lambda: paint((x, y), handle, (0.3 * wide, 0.75 * wide), dyed, turn=turn, caps=False, dim=0.6),
            )
        )
        painter.parts.append(
            (depth - 0.03, lambda: paint(handle, body, (0.8 * wide, wide), dyed, turn=turn, caps=False, wrinkle=0.05))
        )
