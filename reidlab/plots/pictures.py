"""Get pixels from what callers hold (arrays, paths, a table) and draw them with marked borders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from reidlab.data.images import decode
from reidlab.data.scales import ranges_of
from reidlab.errors import UserError
from reidlab.figure_text import block, plain
from reidlab.plots.style import MARKS, Chart, new_figure, set_alt, styled

__all__ = ["contact_sheet", "draw_image", "image_of"]


def image_of(images: Any, row: int) -> npt.NDArray[np.uint8]:
    """Return image `row` as uint8 [height, width, 3].

    Args:
        images: uint8 arrays (one [image, height, width, 3] or a list of [height, width, 3]), paths, an image table
            (its column "path"), or a pixel store (its method `image`).
        row: counted from 0.

    Raises:
        UserError: the row or its file is not there, or it is not a colour image.
    """
    ranges = ranges_of(images) if isinstance(images, pd.DataFrame) else None
    if isinstance(images, pd.DataFrame):
        images = images["path"].to_numpy()
    elif isinstance(images, pd.Series):
        images = images.to_numpy()
    if not hasattr(images, "image") and not 0 <= row < len(images):
        raise UserError(f"Image {row} was asked for, but only {len(images)} images were given.")
    item = images.image(row) if hasattr(images, "image") else images[row]
    if isinstance(item, (str, os.PathLike)):
        item = decode(item, value_range=None if ranges is None else float(ranges[row]))
    pixels = np.asarray(item)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise UserError(
            f"Image {row} must be uint8 [height, width, 3]; got {pixels.dtype} {list(pixels.shape)}. "
            "Batches made for a network are floats [3, height, width]: give the pixels before that step."
        )
    return pixels


def draw_image(ax: Axes, pixels: npt.NDArray[np.uint8] | None, kind: str | None = None, caption: str = "") -> None:
    """Draw one image without axes, with the border and the sign of its kind and a caption below.

    Args:
        ax: where.
        pixels: uint8 [height, width, 3], or None for an empty place.
        kind: "right", "wrong", "ignored", "query" or None (no border).
        caption: one or two short lines.
    """
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if pixels is None:
        return
    ax.imshow(pixels, interpolation="bilinear")
    mark = MARKS[kind] if kind else None
    if mark is not None:
        border = Rectangle(
            (0, 0), 1, 1, transform=ax.transAxes, fill=False, edgecolor=mark.colour, linewidth=3,
            linestyle=mark.line, clip_on=False,
        )  # fmt: skip
        ax.add_patch(border)
    sign = f"{mark.sign} " if mark is not None else ""
    ax.set_xlabel(
        f"{sign}{block(caption, 24)}", fontsize=10, color=mark.colour if mark is not None else "black", labelpad=4
    )


@styled
def contact_sheet(
    images: Any,
    captions: Sequence[str] | None = None,
    kinds: Sequence[str | None] | None = None,
    *,
    columns: int = 8,
    title: str = "",
    limit: int = 64,
) -> Chart:
    """Draw images in a grid.

    Args:
        images: as in `image_of`.
        captions: one short text an image.
        kinds: "right", "wrong", "ignored", "query" or None for each image.
        columns: images in a row.
        title: above all.
        limit: at most so many images are drawn; the title says what was left out.

    Raises:
        UserError: no images, or lists of other lengths.
    """
    count = len(images)
    for name, given in (("captions", captions), ("kinds", kinds)):
        if given is not None and len(given) != count:
            raise UserError(f"{len(given)} {name} for {count} images; give one per image.")
    if not count or columns < 1 or limit < 1:
        raise UserError(f"A contact sheet needs at least one image and column; got {count} images, {columns} columns.")
    shown, columns = min(count, limit), min(columns, count)
    rows = -(-shown // columns)
    height, width = image_of(images, 0).shape[:2]
    each = 1.15 * min(height / width, 3)
    figure = new_figure(max(1.25 * columns, 3), rows * (each + 0.45) + (0.4 if title or shown < count else 0.1))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for at, ax in enumerate(grid):
        pixels = image_of(images, at) if at < shown else None
        draw_image(
            ax, pixels, kinds[at] if kinds and at < shown else None, captions[at] if captions and at < shown else ""
        )
    left = f" (first {shown} of {count:,})" if shown < count else ""
    if title or left:
        figure.suptitle(f"{plain(title, 100)}{left}".strip(), fontsize=11)
    set_alt(figure, f"{title or 'Contact sheet'}: {shown} of {count:,} images in a grid.")
    return figure
