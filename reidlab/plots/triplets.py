"""Show triplets as rows of anchor, positive and negative."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.figure_text import block, cut
from reidlab.plots.pictures import draw_image
from reidlab.plots.style import MARKS, Chart, new_figure, set_alt, styled

__all__ = ["triplet_rows"]

ROLES = (("anchor", "query"), ("positive", "right"), ("negative", "wrong"))


@styled
def triplet_rows(
    images: npt.NDArray[np.uint8],
    pids: Any,
    camids: Any = None,
    *,
    distances: Any = None,
    columns: int = 2,
    limit: int = 12,
) -> Chart:
    """Draw triplets; a positive of another identity, or a negative of the anchor's, is named in orange below.

    Args:
        images: uint8 [triplet, 3, height, width, 3], in the order anchor, positive, negative.
        pids: identities [triplet, 3].
        camids: cameras [triplet, 3] or None.
        distances: [triplet, 2] from the anchor to the positive and the negative, or None.
        columns: triplets beside each other.
        limit: at most so many triplets are drawn.

    Raises:
        UserError: no triplets, or shapes that do not fit.
    """
    images, pids = np.asarray(images), np.asarray(pids)
    count = len(images)
    if images.ndim != 5 or not count or images.shape[1] != 3 or images.shape[4] != 3 or images.dtype != np.uint8:
        raise UserError(
            f"images must be uint8 [triplet, 3, height, width, 3]; got {images.dtype} {list(images.shape)}."
        )
    for name, given, width in (("pids", pids, 3), ("camids", camids, 3), ("distances", distances, 2)):
        if given is not None and np.shape(given) != (count, width):
            raise UserError(f"{name} must have shape [{count}, {width}]; got {list(np.shape(given))}.")
    shown = min(count, limit)
    columns = min(columns, shown)
    rows = -(-shown // columns)
    each = min(images.shape[2] / images.shape[3], 3)
    figure = new_figure(3.9 * columns, rows * (1.15 * each + 0.55) + 0.4)
    spacers = [1.0, 1.0, 1.0, 0.25] * columns
    grid = figure.subplots(rows, 4 * columns, squeeze=False, gridspec_kw={"width_ratios": spacers})
    for ax in grid.ravel():
        draw_image(ax, None)
    for at in range(shown):
        row, begin = at % rows, 4 * (at // rows)
        for place, (role, kind) in enumerate(ROLES):
            ax = grid[row, begin + place]
            caption = _caption(pids[at], camids, distances, at, place)
            draw_image(ax, images[at, place], kind, caption)
            if place and (pids[at, place] == pids[at, 0]) != (role == "positive"):
                ax.set_xlabel(f"label fault\n{block(caption)}", fontsize=8, color=MARKS["wrong"].colour)
            if row == 0:
                ax.set_title(role, fontsize=10, color=MARKS[kind].colour)
    left = f" (first {shown} of {count:,})" if shown < count else ""
    set_alt(figure, f"Triplets{left}: {shown} rows of anchor, positive of the same identity, negative of another.")
    return figure


def _caption(pids: Any, camids: Any, distances: Any, at: int, place: int) -> str:
    """Write identity and camera, and below them the distance."""
    text = f"id {cut(pids[place])}"
    if camids is not None:
        text += f", cam {cut(np.asarray(camids)[at, place], 6)}"
    if distances is None:
        return text
    return f"{text}\n" + ("" if place == 0 else f"distance {np.asarray(distances)[at, place - 1]:.3f}")
