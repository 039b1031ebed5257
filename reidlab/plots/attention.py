"""Figures of attention maps: maps over images, the six panels of one query, pairs, and what was measured of maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, TwoSlopeNorm

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.pictures import draw_image, image_of
from reidlab.plots.style import Chart, new_figure, set_alt, styled

__all__ = ["attention_grid", "pair_figure", "six_panels"]

COLOURS, SIGNED = "inferno", "RdBu_r"
_TALL = 1.75  # inches of an image's height in a grid
_OVER = 0.75  # how much of a map's highest place covers the image below it


@styled
def attention_grid(
    images: Any,
    maps: Mapping[str, npt.ArrayLike],
    captions: Sequence[str] = (),
    *,
    title: str = "",
) -> Chart:
    """Draw a row for each image: as it is, then with the map of each method over it, brightest where it is highest.

    Args:
        images: as `pictures.image_of` takes them.
        maps: by method, [image, row, column], from 0 to 1.
        captions: one short text an image.
        title: above all.

    Raises:
        UserError: no image or map, or numbers of them that differ.
    """
    given = {name: _checked(name, each) for name, each in maps.items()}
    count = len(next(iter(given.values()))) if given else 0
    if not count:
        raise UserError("An attention grid needs at least one image and one method.")
    lengths = {name: len(each) for name, each in given.items()} | ({"captions": len(captions)} if captions else {})
    for name, length in lengths.items():
        if length != count:
            raise UserError(f"{name} has {length} entries for {count} images.")
    shape = image_of(images, 0).shape
    wide = max(_TALL * shape[1] / shape[0] + 0.12, 0.86)
    figure = new_figure(max(wide * (1 + len(given)) + 1.0, 4.5), count * (_TALL + 0.3) + 0.75)
    grid = figure.subplots(count, 1 + len(given), squeeze=False)
    for row, line in enumerate(grid):
        pixels = image_of(images, row)
        draw_image(line[0], pixels, None, captions[row] if captions else "")
        for ax, each in zip(line[1:], given.values()):
            _over(ax, pixels, each[row], Normalize(0, 1), COLOURS)
    for ax, name in zip(grid[0], ("image", *given)):
        ax.set_title(plain(name.replace("_", "\n", 1), 24), fontsize=9)
    _bar(figure, grid.ravel().tolist(), Normalize(0, 1), COLOURS, "attention")
    if title:
        figure.suptitle(plain(title, 100), fontsize=11)
    set_alt(figure, f"{title or 'Attention maps'}: {count} images, each with {', '.join(given)} over it.")
    return figure


@styled
def six_panels(image: npt.ArrayLike, maps: Mapping[str, npt.ArrayLike], *, heat: str = "", title: str = "") -> Chart:
    """Draw one image in six panels: itself, up to three maps, the last of them over the image, and as a heat map.

    The layout of the custom CNN's own pictures: original, spatial gates of CBAM-4 and CBAM-5, feature map, combined
    overlay, heat map only. Each map has a colour bar of its own, with its lowest and highest value.

    Args:
        image: uint8 [height, width, 3].
        maps: one to three by name, [row, column], from 0 to 1; the last one is the overlay and the heat map.
        heat: another of them for overlay and heat map.
        title: above all.

    Raises:
        UserError: another number of maps, or a name that is none of them.
    """
    pixels = image_of([np.asarray(image)], 0)
    given = {name: _checked(name, each, 2) for name, each in maps.items()}
    heat = heat or list(given)[-1] if given else heat
    if not 1 <= len(given) <= 3 or heat not in given:
        raise UserError(f"Six panels need one to three maps and the name of one of them; got {list(given)}, {heat!r}.")
    high = 2.6
    wide = max(high * pixels.shape[1] / pixels.shape[0], 1.15) + 0.75
    figure = new_figure(3 * wide, 2 * (high + 0.45) + 0.3)
    axes = figure.subplots(2, 3).ravel()
    draw_image(axes[0], pixels)
    axes[0].set_title("original", fontsize=10)
    for ax, (name, each) in zip(axes[1:4], given.items()):
        _alone(figure, ax, each, name, pixels.shape)
    for ax in axes[1 + len(given) : 4]:
        draw_image(ax, None)
    spread = Normalize(float(given[heat].min()), float(max(given[heat].max(), given[heat].min() + 1e-6)))
    _over(axes[4], pixels, given[heat], spread, COLOURS)
    axes[4].set_title("overlay", fontsize=10)
    _bar(figure, [axes[4]], spread, COLOURS, "")
    _alone(figure, axes[5], given[heat], "heat map only", pixels.shape, smooth=True)
    if title:
        figure.suptitle(plain(title, 70), fontsize=11)
    set_alt(figure, f"{title or 'Six panels'}: an image, {', '.join(given)}, and {heat} over the image and alone.")
    return figure


@styled
def pair_figure(
    pairs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    query_images: Any,
    gallery_images: Any,
    cosines: Sequence[float],
    kinds: Sequence[str],
    captions: Sequence[str] = (),
    *,
    title: str = "",
) -> Chart:
    """Draw query and gallery image of each pair side by side, below them what each location added to their cosine.

    Red adds to the similarity, blue takes from it; both maps of a pair share a scale, and each sums to the cosine.

    Args:
        pairs: maps [row, column] of query and gallery image.
        query_images: pixels by pair (see `pictures.image_of`).
        gallery_images: the same of the other image.
        cosines: of each pair.
        kinds: "right" or "wrong" for each.
        captions: one short text a pair, such as the identities.
        title: above all.

    Raises:
        UserError: no pair, or lists of other lengths.
    """
    count = len(pairs)
    lengths = {"cosines": len(cosines), "kinds": len(kinds)} | ({"captions": len(captions)} if captions else {})
    wrong = [f"{length} {name}" for name, length in lengths.items() if length != count]
    if not count or wrong:
        raise UserError(f"A figure of pairs needs at least one pair and one entry each: {count}, {wrong or 'none'}.")
    shape = image_of(query_images, 0).shape
    wide = max(_TALL * shape[1] / shape[0], 0.8) + 0.15
    figure = new_figure(max(count * (2 * wide + 0.75), 4.5), 2 * _TALL + 1.45)
    for place, panel in enumerate(figure.subfigures(1, count, squeeze=False)[0]):
        grid = panel.subplots(2, 2, squeeze=False)
        sides = [image_of(query_images, place), image_of(gallery_images, place)]
        parts = [_checked("a pair's map", each, 2) for each in pairs[place]]
        most = max(float(np.abs(each).max()) for each in parts) or 1.0
        norm = TwoSlopeNorm(0.0, -most, most)
        for column, (pixels, kind) in enumerate(zip(sides, ("query", kinds[place]))):
            draw_image(grid[0, column], pixels, kind, "query" if column == 0 else kind)
            grey = np.repeat(pixels.mean(2, keepdims=True), 3, axis=2).astype(np.uint8)
            _over(grid[1, column], grey, parts[column], norm, SIGNED)
        bar = panel.colorbar(ScalarMappable(norm, SIGNED), ax=grid[1].tolist(), fraction=0.06, pad=0.03)
        bar.set_ticks([-most, 0, most], labels=[f"{-most:.3f}", "0", f"{most:.3f}"])
        bar.ax.tick_params(labelsize=7)
        below = f"\n{plain(captions[place], 34)}" if captions else ""
        panel.suptitle(f"cosine {cosines[place]:.3f}{below}", fontsize=10)
    if title:
        figure.suptitle(plain(title, 100), fontsize=11)
    told = ", ".join(f"{kind} {cosine:.3f}" for kind, cosine in zip(kinds, cosines))
    set_alt(figure, f"{title or 'Pairs'}: {count} queries and matches with what each location added; cosines {told}.")
    return figure


def _checked(name: str, given: Any, axes: int = 3) -> npt.NDArray[np.float32]:
    """Return maps as floats of as many axes, or refuse them by name."""
    maps = np.asarray(given, dtype=np.float32)
    if maps.ndim != axes or not maps.size or not np.isfinite(maps).all():
        what = "[image, row, column]" if axes == 3 else "[row, column]"
        raise UserError(f"{name} must be finite maps {what}, not {list(maps.shape)}.")
    return maps


def _over(ax: Axes, pixels: npt.NDArray[np.uint8], part: npt.NDArray[np.float32], norm: Normalize, cmap: str) -> None:
    """Draw a map over an image, smoothly, to the image's borders."""
    draw_image(ax, pixels)
    height, width = pixels.shape[:2]
    edges = (-0.5, width - 0.5, height - 0.5, -0.5)
    most = max(abs(float(norm.vmin or 0.0)), abs(float(norm.vmax or 1.0)))
    cover = _OVER * np.clip(np.abs(part) / most, 0.2, 1.0)  # where a map is low, the image shows
    ax.imshow(part, cmap=cmap, norm=norm, alpha=cover, interpolation="bilinear", extent=edges)


def _alone(
    figure: Chart, ax: Axes, part: npt.NDArray[np.float32], name: str, shape: tuple[int, ...], smooth: bool = False
) -> None:
    """Draw a map alone, its cells visible unless `smooth`, with a bar from its lowest to its highest value."""
    draw_image(ax, None)
    norm = Normalize(float(part.min()), float(max(part.max(), part.min() + 1e-6)))
    edges = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    ax.imshow(part, cmap=COLOURS, norm=norm, interpolation="bilinear" if smooth else "nearest", extent=edges)
    ax.set_title(plain(name, 24), fontsize=10)
    _bar(figure, [ax], norm, COLOURS, "")


def _bar(figure: Chart, axes: Any, norm: Normalize, cmap: str, label: str) -> None:
    bar = figure.colorbar(ScalarMappable(norm, cmap), ax=axes, fraction=0.05, pad=0.02, aspect=25)
    bar.ax.tick_params(labelsize=7)
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 1.0)
    bar.set_ticks([low, (low + high) / 2, high], labels=[f"{tick:.2f}" for tick in (low, (low + high) / 2, high)])
    if label:
        bar.set_label(label, fontsize=9)
