"""A map of many points in groups: the static twin of the explorer of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from reidlab.errors import UserError
from reidlab.figure_text import cut, plain
from reidlab.plots.style import axes_or_new, set_alt, styled

__all__ = ["PointGroup", "point_map"]


@dataclass(frozen=True)
class PointGroup:
    """How the points of one group are drawn.

    Attributes:
        name: for the legend.
        colour: hexadecimal.
        marker: Matplotlib's: "o", or another where the colour must not stand alone.
        size: of a point, against 1.
    """

    name: str
    colour: str
    marker: str = "o"
    size: float = 1.0


@styled
def point_map(
    points: Float[np.ndarray, "image 2"],
    codes: Int[np.ndarray, " image"],
    groups: Sequence[PointGroup],
    *,
    title: str = "",
    chosen: Int[np.ndarray, " row"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw points of a plane in the colours and shapes of their groups; later groups lie above earlier ones.

    Args:
        points: [image, 2].
        codes: the group of each point [image].
        groups: what is drawn, in the order of the codes.
        title: above.
        chosen: rows that get a ring.
        ax: where.

    Raises:
        UserError: no points, or codes that belong to no group.
    """
    if not len(points) or np.shape(codes) != (len(points),):
        raise UserError(f"{len(points)} points and {np.size(codes)} codes: give one group for each of one or more.")
    if codes.min() < 0 or codes.max() >= len(groups):
        raise UserError(f"codes from {codes.min()} to {codes.max()} do not belong to {len(groups)} groups.")
    ax = axes_or_new(ax, 7.6, 4.8)
    area = float(np.clip(20_000 / len(points), 3, 30))
    for code, group in enumerate(groups):
        mine = points[codes == code]
        label = f"{plain(cut(group.name, 28), 28)} ({len(mine):,})"
        ax.scatter(
            mine[:, 0], mine[:, 1], s=area * group.size, c=group.colour, marker=group.marker, linewidths=0, label=label
        )
    if chosen is not None and len(chosen):
        ring = points[chosen]
        label = f"chosen ({len(chosen):,})"
        ax.scatter(ring[:, 0], ring[:, 1], s=2.5 * area + 12, facecolors="none", edgecolors="black", label=label)
    ax.set(xticks=[], yticks=[], xlabel="first direction (no unit)", ylabel="second direction (no unit)")
    ax.grid(False)
    ax.margins(0.05)
    if title:
        ax.set_title(plain(title, 90))
    legend = ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, markerscale=max(1, 5 / area**0.5))
    legend.set_in_layout(True)
    counts = np.bincount(codes, minlength=len(groups))
    told = ", ".join(f"{count:,} {group.name}" for group, count in zip(groups, counts))
    set_alt(ax, f"{title or 'Map'}: {len(points):,} points; {told}.")
    return ax
