"""Show what transforms do: the same images in every row, a row for each transform."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from reidlab.data.transforms import TRANSFORMS, build_transform
from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import Chart, new_figure, set_alt, styled

__all__ = ["augmentation_figure", "draw_strips", "strip_of"]

GAP = 6  # white pixels between images


@styled
def augmentation_figure(
    images: npt.NDArray[np.uint8],
    transforms: Sequence[str] | Mapping[str, Callable[..., Tensor]] = tuple(TRANSFORMS),
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    title: str = "",
) -> Chart:
    """Draw images as they are in the first row, and below them a row for each transform, its name on the left.

    Args:
        images: uint8 [image, height, width, 3].
        transforms: registered names, each applied to every image (p=1 where it has a p); or by label what is called as
            transform(images, generator), such as an `Augment`.
        options: for registered names, options that replace the defaults.
        seed: of the first row's draws; every further row counts one up.
        title: above all.

    Raises:
        UserError: no images, other pixels, an unknown name or option.
    """
    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or not len(pixels):
        raise UserError(f"Images must be uint8 [image, height, width, 3], at least one; got {list(pixels.shape)}.")
    batch = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    changes = _named(transforms, options or {}) if not isinstance(transforms, Mapping) else transforms
    rows = {"as stored": batch}
    for place, (label, change) in enumerate(changes.items()):
        rows[label] = change(batch, Generator().manual_seed(seed + place))
    figure = draw_strips(
        {label.replace("_", " "): strip_of(row) for label, row in rows.items()}, 0.75 * len(pixels), title
    )
    names = ", ".join(changes)
    set_alt(figure, f"{title or 'Transforms'}: {len(pixels)} images as stored, and below them each after {names}.")
    return figure


def draw_strips(
    strips: Mapping[str, npt.NDArray[np.uint8]], width: float, title: str, *, heads: Sequence[str] = ()
) -> Chart:
    """Draw strips of `width` inches one below the other, their labels on the left, `heads` and the title above.

    Heads stand above the images of the first strip, one for each.
    """
    between, edge = 0.05, 0.1
    names = [plain(label) for label in strips]
    labels = 0.08 * max(map(len, names)) + 2 * edge
    heights = [width * strip.shape[0] / strip.shape[1] for strip in strips.values()]
    across = labels + width + edge
    above = edge + (0.3 if title else 0) + (0.2 if heads else 0)
    tall = sum(heights) + between * (len(strips) - 1) + edge + above
    figure = new_figure(across, tall)
    figure.set_layout_engine("none")  # every place is known
    top = tall - above
    for place, head in enumerate(heads):
        middle = labels + width * (place + 0.5) / len(heads)
        figure.text(middle / across, (top + 0.04) / tall, plain(head), ha="center", va="bottom", fontsize=9)
    for label, strip, height in zip(names, strips.values(), heights):
        top -= height
        ax = figure.add_axes((labels / across, top / tall, width / across, height / tall))
        ax.imshow(strip, interpolation="bilinear", aspect="auto")
        ax.set_axis_off()
        figure.text((labels - edge) / across, (top + height / 2) / tall, label, ha="right", va="center", fontsize=10)
        top -= between
    if title:
        figure.text(
            (labels + width / 2) / across, 1 - edge / tall, plain(title, 100), ha="center", va="top", fontsize=11
        )
    return figure


def _named(names: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> dict[str, Callable[..., Tensor]]:
    unknown = [name for name in options if name not in names]
    if unknown:
        raise UserError(f"Options for {unknown[0]!r} are given, which is not among the transforms shown.")
    made: dict[str, Callable[..., Tensor]] = {}
    for name in names:
        always = {"p": 1.0} if name in TRANSFORMS and "p" in TRANSFORMS.options(name) else {}
        made[name] = build_transform(name, **(always | dict(options.get(name, {}))))
    return made


def strip_of(images: Tensor) -> npt.NDArray[np.uint8]:
    """Put the images of a row side by side on white: uint8 [height, width, 3]."""
    n, _, height, width = images.shape
    strip = np.full((height, n * (width + GAP) - GAP, 3), 255, dtype=np.uint8)
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        strip[:, i * (width + GAP) : i * (width + GAP) + width] = image
    return strip
