"""How somebody walks: joints of a body in metres over one walk cycle.

Body axes: (left, up, forward), the origin on the ground below the pelvis.
"""

from __future__ import annotations

from math import cos, pi, sin

from reidlab.pedestrians.person import Person

__all__ = ["Point", "walk_joints"]

Point = tuple[float, float, float]


def _swing(start: Point, length: float, angle: float, spread: float = 0.0) -> Point:
    """Hang a bone from `start`: `angle` radians forward of straight down, `spread` metres to the left."""
    left, up, forward = start
    return left + spread, up - length * cos(angle), forward + length * sin(angle)


def _leg(person: Person, side: int, phase: float) -> dict[str, Point]:
    """Hip, knee, ankle, heel and toe of one leg, with the hip at height 0."""
    h = person.stature
    swing = 0.44 * person.stride * sin(phase)
    lift = max(0.0, cos(phase - 0.25))
    flex = 0.10 + 0.85 * person.stride * lift * lift
    hip = (side * 0.052 * h * person.hips * person.build, 0.0, 0.0)
    knee = _swing(hip, 0.245 * h, swing + 0.06, -side * 0.004 * h)
    shank = swing + 0.06 - flex
    ankle = _swing(knee, 0.238 * h, shank, -side * 0.004 * h)
    pitch = min(max(0.75 * shank, -0.9), 0.35)  # the foot follows the shank: heel up behind, toe up in front
    heel = (ankle[0], ankle[1] - 0.026 * h * cos(pitch), ankle[2] - 0.026 * h)
    toe = (ankle[0] + side * 0.012 * h, heel[1] + 0.125 * h * sin(pitch), heel[2] + 0.125 * h * cos(pitch))
    return {"hip": hip, "knee": knee, "ankle": ankle, "heel": heel, "toe": toe}


def _arm(person: Person, side: int, phase: float, chest: Point, bent: float) -> dict[str, Point]:
    """Shoulder, elbow, wrist and fingertips of one arm; `bent` adds radians to the elbow (a hand on a strap)."""
    h = person.stature
    shoulder = (side * 0.096 * h * person.build, chest[1], chest[2])
    swing = -0.42 * person.stride * sin(phase) * (0.35 if bent else 1.0)
    elbow = _swing(shoulder, 0.168 * h, swing - 0.05, side * 0.020 * h)
    fold = swing + 0.22 + 0.28 * max(0.0, -sin(phase)) + bent
    wrist = _swing(elbow, 0.145 * h, fold, side * (0.004 - 0.03 * bent) * h)
    return {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "fingers": _swing(wrist, 0.055 * h, fold)}


def walk_joints(person: Person, phase: float, *, lean: float = 0.03, bent: float = 0.0) -> dict[str, Point]:
    """Place all joints at `phase` radians of the walk cycle; the lower foot stands on the ground.

    Names are pelvis, chest, neck, head, crown and, with the prefix left_ or right_, the joints of the limbs.
    `lean` is the forward lean of the trunk, `bent` folds the arm on the bag's side (both radians).
    """
    h = person.stature
    joints: dict[str, Point] = {}
    legs = {1: _leg(person, 1, phase), -1: _leg(person, -1, phase + pi)}
    lowest = min(min(leg["heel"][1], leg["toe"][1]) for leg in legs.values())
    rise = 0.014 * h - lowest
    for side, name in ((1, "left_"), (-1, "right_")):
        joints.update({name + joint: (p[0], p[1] + rise, p[2]) for joint, p in legs[side].items()})
    sway = 0.008 * h * sin(phase)
    joints["pelvis"] = (sway, rise, 0.0)
    joints["chest"] = (sway, rise + 0.264 * h, 0.27 * h * lean)
    joints["neck"] = (sway, rise + 0.318 * h, 0.32 * h * lean)
    joints["head"] = (sway, rise + 0.340 * h, 0.36 * h * lean + 0.012 * h)
    joints["crown"] = (sway, rise + 0.470 * h, 0.40 * h * lean + 0.010 * h)
    for side, name, shift in ((1, "left_", 0.0), (-1, "right_", pi)):
        fold = bent if side == person.bag_side else 0.0
        arm = _arm(person, side, phase + shift, joints["chest"], fold)
        joints.update({name + joint: point for joint, point in arm.items()})
    return joints
