"""Who walks: the attributes of a person, drawn from (seed, pid) and nothing else.

Persons come in families of four that share one palette of three clothes colours and differ in where those
colours sit, in pattern and in cut: a histogram of the image can hardly tell them apart, a look at the image can.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

__all__ = ["COLOURS", "FAMILY", "HAIR", "SKIN", "Person", "draw_person"]

FAMILY = 4  # persons that share a palette

COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.07, 0.07, 0.08),
    "charcoal": (0.19, 0.19, 0.21),
    "grey": (0.47, 0.48, 0.50),
    "white": (0.90, 0.90, 0.88),
    "navy": (0.09, 0.12, 0.30),
    "denim": (0.24, 0.34, 0.52),
    "blue": (0.12, 0.29, 0.72),
    "sky": (0.48, 0.68, 0.86),
    "teal": (0.07, 0.44, 0.44),
    "green": (0.13, 0.46, 0.19),
    "olive": (0.34, 0.35, 0.17),
    "yellow": (0.90, 0.76, 0.16),
    "orange": (0.88, 0.43, 0.10),
    "red": (0.74, 0.09, 0.10),
    "wine": (0.37, 0.06, 0.13),
    "pink": (0.90, 0.50, 0.62),
    "purple": (0.39, 0.18, 0.52),
    "brown": (0.34, 0.20, 0.11),
    "beige": (0.78, 0.68, 0.51),
}
SKIN: dict[str, tuple[float, float, float]] = {
    "pale": (0.93, 0.76, 0.66),
    "light": (0.86, 0.66, 0.53),
    "tan": (0.72, 0.52, 0.38),
    "brown": (0.50, 0.33, 0.23),
    "dark": (0.31, 0.20, 0.15),
}
HAIR: dict[str, tuple[float, float, float]] = {
    "black": (0.06, 0.05, 0.05),
    "dark brown": (0.17, 0.10, 0.06),
    "brown": (0.31, 0.19, 0.10),
    "red": (0.50, 0.22, 0.09),
    "blond": (0.76, 0.60, 0.34),
    "grey": (0.58, 0.57, 0.56),
}

TOPS = ("tee", "shirt", "sweater", "jacket", "coat", "dress", "vest", "hoodie")
TOP_WEIGHTS = (0.22, 0.14, 0.14, 0.19, 0.10, 0.06, 0.05, 0.10)
TOP_PATTERNS = (
    "plain",
    "hoops",
    "pinstripes",
    "checks",
    "logo",
    "block",
    "dots",
    "back print",
    "yoke",
    "sash",
)
TOP_PATTERN_WEIGHTS = (0.26, 0.15, 0.07, 0.11, 0.11, 0.09, 0.05, 0.06, 0.06, 0.04)
BOTTOMS = ("trousers", "slim", "wide", "shorts", "skirt", "long skirt", "leggings")
BOTTOM_WEIGHTS = (0.27, 0.20, 0.12, 0.16, 0.10, 0.06, 0.09)
BOTTOM_PATTERNS = ("plain", "side stripe", "faded", "checks", "hem")
BOTTOM_PATTERN_WEIGHTS = (0.56, 0.16, 0.14, 0.07, 0.07)
HAIR_STYLES = ("short", "crop", "bald", "long", "bob", "bun", "ponytail")
HATS = ("none", "cap", "beanie", "sun hat", "hood")
BAGS = ("none", "backpack", "shoulder bag", "handbag")


@dataclass(frozen=True)
class Person:
    """One identity: everything about it that no camera changes. Colours are names of `COLOURS`, `SKIN`, `HAIR`."""

    pid: int
    stature: float  # metres
    build: float  # 1 is average, larger is broader
    hips: float  # hip width by shoulder width
    skin: str
    hair: str  # one of HAIR_STYLES
    hair_colour: str
    beard: bool
    hat: str
    hat_colour: str
    top: str
    top_colour: str
    top_pattern: str
    accent_colour: str  # second colour of the pattern; the shirt below an open jacket
    sleeves: str  # none / short / long
    bottom: str
    bottom_colour: str
    bottom_pattern: str
    shoes: str  # shoes / boots / sneakers
    shoe_colour: str
    bag: str
    bag_colour: str
    bag_side: int  # +1 left, -1 right
    stride: float  # 1 is average
    tint: tuple[float, float, float]  # per channel factor on all clothes: no two dyes are the same


def _pick(rng: np.random.Generator, names: tuple[str, ...], weights: tuple[float, ...] | None = None) -> str:
    if weights is None:
        return names[int(rng.integers(len(names)))]
    edges = np.cumsum(weights) / np.sum(weights)
    return names[min(int(np.searchsorted(edges, rng.random(), side="right")), len(names) - 1)]


def _family_palette(seed: int, pid: int, stranger: int) -> tuple[str, str, str]:
    """Return the person its order of the three colours that its family shares."""
    family, member = divmod(max(pid - 1, 0), FAMILY)
    rng = np.random.default_rng([seed, 11, family, stranger])
    three = rng.choice(len(COLOURS), size=3, replace=False)
    order = list(permutations(range(3)))
    chosen = order[int(rng.permutation(len(order))[member])]
    names = tuple(COLOURS)
    return names[three[chosen[0]]], names[three[chosen[1]]], names[three[chosen[2]]]


def draw_person(seed: int, pid: int, stranger: int = 0) -> Person:
    """Draw the person with this pid; `stranger` > 0 draws somebody else (distractors, passers-by) instead."""
    rng = np.random.default_rng([seed, 12, max(pid, 0), stranger])
    first, second, third = _family_palette(seed, pid, stranger)
    feminine = bool(rng.random() < 0.5)
    top = _pick(rng, TOPS, TOP_WEIGHTS)
    bottom = _pick(rng, BOTTOMS, BOTTOM_WEIGHTS)
    if top == "dress" or (bottom in ("skirt", "long skirt") and not feminine):
        bottom = "skirt" if top == "dress" else "trousers"
    sleeves = {"tee": "short", "vest": "none"}.get(top, "long")
    if top in ("shirt", "dress", "sweater") and rng.random() < 0.3:
        sleeves = "short"
    styles = ("long", "bob", "bun", "ponytail", "short") if feminine else ("short", "crop", "bald", "short", "long")
    neutral = ("black", "charcoal", "white", "brown", "navy", "red")
    hat = _pick(rng, HATS, (0.70, 0.12, 0.08, 0.05, 0.05))
    return Person(
        pid=pid,
        stature=float(rng.normal(1.66 if feminine else 1.77, 0.06)),
        build=float(np.clip(rng.normal(1.0, 0.11), 0.82, 1.32)),
        hips=1.08 if feminine else 0.92,
        skin=_pick(rng, tuple(SKIN)),
        hair=_pick(rng, styles),
        hair_colour=_pick(rng, tuple(HAIR)),
        beard=bool(not feminine and rng.random() < 0.3),
        hat="none" if hat == "hood" and top != "hoodie" else hat,
        hat_colour=_pick(rng, (first, third, "black", "beige", "red")),
        top=top,
        top_colour=first,
        top_pattern=_pick(rng, TOP_PATTERNS, TOP_PATTERN_WEIGHTS),
        accent_colour=third,
        sleeves=sleeves,
        bottom=bottom,
        bottom_colour=first if top == "dress" else second,
        bottom_pattern=_pick(rng, BOTTOM_PATTERNS, BOTTOM_PATTERN_WEIGHTS),
        shoes=_pick(rng, ("shoes", "boots", "sneakers"), (0.4, 0.2, 0.4)),
        shoe_colour=_pick(rng, neutral),
        bag=_pick(rng, BAGS, (0.46, 0.22, 0.18, 0.14)),
        bag_colour=_pick(rng, (third, second, "black", "brown")),
        bag_side=1 if rng.random() < 0.5 else -1,
        stride=float(rng.uniform(0.75, 1.2)),
        tint=(float(rng.uniform(0.9, 1.1)), float(rng.uniform(0.9, 1.1)), float(rng.uniform(0.9, 1.1))),
    )
