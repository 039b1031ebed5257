"""Names beside the points of a chart, placed so that they cover neither each other nor anything drawn.

Lengths are in points, of which an inch has 72; a box is (left, bottom, right, top).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from reidlab.figure_text import plain

__all__ = ["place_labels"]

Array = npt.NDArray[np.float64]
_WAYS = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 65, 295, 115, 245)  # degrees, the best first
_DISTANCES = (4, 8, 13, 19, 27, 38, 52, 70, 90, 120)  # between a sign and its text
_NEAR = 6  # a text that is farther away has a line that leads to it
_GAP = 1.5  # between a text and whatever else there is


def place_labels(
    ax: Axes,
    points: npt.ArrayLike,
    texts: Sequence[str],
    *,
    keep_clear: npt.ArrayLike = (),
    radius: float = 4.0,
    fontsize: float = 8.5,
) -> list[Annotation]:
    """Write a text beside each point, in the nearest place where it covers nothing; call it when all else is drawn.

    Args:
        ax: limits and scales as they stay.
        points: [point, 2], in data coordinates.
        texts: one per point.
        keep_clear: boxes [box, 4] in display coordinates that texts must not cover; lines that lead to texts may.
        radius: of the signs at the points.
        fontsize: of the texts.

    Returns:
        The texts, in the order of the points. Where there is no free place the one that covers least is taken.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # settles the layout, on which display coordinates depend
    scale = 72 / figure.dpi
    spots = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    at = ax.transData.transform(spots) * scale
    drawn, taken = np.asarray(keep_clear, dtype=np.float64).reshape(-1, 4) * scale, _around(at, radius)
    inside = np.array(ax.bbox.extents) * scale
    made: dict[int, Annotation] = {}
    crowds = np.exp(-(((at[:, None] - at) / 60) ** 2).sum(2)).sum(1)
    for i in np.argsort(-crowds, kind="stable"):  # those in a crowd first: they have the fewest places
        how: dict[str, Any] = {"xytext": (0, 0), "textcoords": "offset points", "annotation_clip": False}
        label = ax.annotate(plain(texts[i]), tuple(spots[i]), fontsize=fontsize, **how)
        label.set_in_layout(False)
        extent = label.get_window_extent()
        box, lead = _best(at[i], np.array([extent.width, extent.height]) * scale, drawn, taken, inside, radius)
        label.set_position(tuple(box[:2] + _GAP - at[i]))
        if len(lead):
            arrow = {"arrowstyle": "-", "color": "#7F7F7F", "linewidth": 0.7, "shrinkA": 0, "shrinkB": radius}
            line = ax.annotate("", tuple(spots[i]), arrowprops=arrow, **{**how, "xytext": tuple(lead[-1] - at[i])})
            line.set_in_layout(False)
        taken = np.concatenate([taken, box[None], _around(lead, 0.5)])
        made[i] = label
    return [made[i] for i in range(len(texts))]


def _best(at: Array, size: Array, drawn: Array, taken: Array, inside: Array, radius: float) -> tuple[Array, Array]:
    """Return the box of the place that covers least, and the line that leads there (none to a near place)."""
    least, best = math.inf, (np.zeros(4), np.zeros((0, 2)))
    for distance in _DISTANCES:
        for way in _WAYS:
            across = np.array([math.cos(math.radians(way)), math.sin(math.radians(way))])
            middle = at + across * (radius + distance + size / 2)
            box = np.concatenate([middle - size / 2 - _GAP, middle + size / 2 + _GAP])
            lead = _lead(at, box, radius) if distance > _NEAR else np.zeros((0, 2))
            covered = _shared(box[None], drawn).sum() + _shared(box[None], taken).sum()
            covered += 5 * _shared(_around(lead, 0.5), taken).sum()
            covered += np.prod(box[2:] - box[:2]) - _shared(box[None], inside[None]).sum()
            if covered < least - 1e-6:
                least, best = covered, (box, lead)
            if covered < 1e-6:
                return best
    return best


def _lead(at: Array, box: Array, radius: float) -> Array:
    """Return spots [spot, 2] on the way from the rim of a sign to the nearest place of its text's box."""
    way = np.clip(at, box[:2], box[2:]) - at
    length = float(np.hypot(*way))
    steps = np.append(np.arange(radius + 1, length, 3), length)
    return at + way * steps[:, None] / length


def _around(spots: Array, radius: float) -> Array:
    """Return the square boxes [spot, 4] around spots."""
    return np.concatenate([spots - radius, spots + radius], axis=1)


def _shared(boxes: Array, others: Array) -> Array:
    """Return the areas [box, other] that boxes share."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)
