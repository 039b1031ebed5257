"""A person in front of a camera: joints projected to the frame, and the order in which the parts are painted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import atan2, cos, radians, sin, sqrt

from reidlab.pedestrians.cameras import Camera
from reidlab.pedestrians.person import Person
from reidlab.pedestrians.pose import Point, walk_joints
from reidlab.pedestrians.raster import Canvas, Texture

__all__ = ["Box", "Painter", "Spot", "Stance", "frame_box", "oval", "shift", "stand"]

Box = tuple[float, float, float, float]  # left, top, right, bottom in frame pixels
Spot = tuple[float, float, float, float]  # x, y, pixels a metre, distance in metres


@dataclass(frozen=True)
class Stance:
    """A person in the frame of a camera."""

    person: Person
    body: dict[str, Point]  # joints in body axes
    joints: dict[str, Spot]  # joints in the frame
    turn: float  # radians; 0 faces the camera
    tilt: float  # radians the camera looks down
    place: Callable[[Point], Spot]  # body axes -> frame


def stand(
    person: Person, camera: Camera, where: tuple[float, float], heading: float, phase: float, lean: float = 0.03
) -> Stance:
    """Stand a person on the ground at (X, Z), walking towards `heading` radians (0 comes to the camera)."""
    c, s = cos(heading), sin(heading)

    def place(point: Point) -> Spot:
        left, up, forward = point
        x, z = where[0] + left * c + forward * s, where[1] + left * s - forward * c
        u, v, scale = camera.project(x, up, z)
        return u, v, scale, camera.focal / scale

    body = walk_joints(person, phase, lean=lean, bent=0.7 if person.bag == "shoulder bag" else 0.0)
    joints = {name: place(point) for name, point in body.items()}
    turn = heading - atan2(-where[0], where[1])
    return Stance(person, body, joints, turn, radians(camera.pitch), place)


def frame_box(stance: Stance) -> Box:
    """Bound the whole figure in frame pixels."""
    pad = 0.05 * stance.person.stature * stance.joints["chest"][2]
    xs = [spot[0] for spot in stance.joints.values()]
    ys = [spot[1] for spot in stance.joints.values()]
    return min(xs) - pad, min(ys) - 0.3 * pad, max(xs) + pad, max(ys) + 0.5 * pad


def shift(point: Point, left: float = 0.0, up: float = 0.0, forward: float = 0.0) -> Point:
    """Move a body point."""
    return point[0] + left, point[1] + up, point[2] + forward


def oval(turn: float, wide: float, deep: float) -> float:
    """Return the half-width of an oval seen under `turn`."""
    return sqrt((wide * cos(turn)) ** 2 + (deep * sin(turn)) ** 2)


class Painter:
    """Collects the parts of one figure with their distances, then paints them from far to near."""

    def __init__(self, canvas: Canvas, stance: Stance, box: Box, zoom: float) -> None:
        self.canvas, self.stance, self.box, self.zoom = canvas, stance, box, zoom
        self.person = stance.person
        self._parts: list[tuple[float, Callable[[], None]]] = []

    def at(self, place: str | Point) -> Spot:
        """Return canvas x, y, canvas pixels per metre and distance of a joint or a body point."""
        u, v, scale, depth = self.stance.joints[place] if isinstance(place, str) else self.stance.place(place)
        return (u - self.box[0]) * self.zoom, (v - self.box[1]) * self.zoom, scale * self.zoom, depth

    def add(
        self,
        start: str | Point | Spot,
        end: str | Point | Spot,
        radii: tuple[float, ...],
        texture: Texture,
        *,
        nearer: float = 0.0,
        caps: bool = True,
        wrinkle: float = 0.0,
        dim: float = 1.0,
    ) -> None:
        """Note a tube with radii in metres between joints, body points or canvas spots.

        `nearer` metres lift it in the painting order; the rest is `Canvas.tube`'s.
        """
        a, b = (p if len(p) == 4 and not isinstance(p, str) else self.at(p) for p in (start, end))
        widths = tuple(radius * (a[2] + b[2]) / 2 for radius in radii)
        turn = self.stance.turn

        def paint() -> None:
            self.canvas.tube(a[:2], b[:2], widths, texture, turn=turn, caps=caps, wrinkle=wrinkle, dim=dim)

        self._parts.append(((a[3] + b[3]) / 2 - nearer, paint))

    def paint(self) -> None:
        """Paint everything that was added."""
        for _, paint in sorted(self._parts, key=lambda part: -part[0]):
            paint()
