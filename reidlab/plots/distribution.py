"""Show what is in an image table: images by identity, camera and split, and image sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, Chart, ChartAxes, axes_or_new, new_figure, set_alt, styled

__all__ = [
    "distribution_overview", "identity_camera_map", "image_sizes", "images_by_camera", "images_by_identity",
    "images_by_split",
]  # fmt: skip

_HATCHES = ("", "//", "..", "xx", "\\\\", "++")


def _filled(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Refuse a table without rows or without a column; leave junk and distractors out of none of them."""
    for column in columns:
        if column not in table.columns:
            raise UserError(
                f"The table has no column {column!r}; its columns are {', '.join(map(str, table.columns))}."
            )
    if table.empty:
        raise UserError("The image table has no rows: there is nothing to draw.")
    return table


def _is_person(table: pd.DataFrame) -> pd.Series:
    keep = table["pid"].astype(str) != "-1"
    if "distractor" in table.columns:
        keep &= ~table["distractor"].fillna(False).astype(bool)
    return keep


def _persons(table: pd.DataFrame) -> pd.DataFrame:
    """Leave junk and distractors out: they are not identities."""
    keep = _is_person(table)
    if not keep.any():
        raise UserError("All images of the table are junk or distractors: there is no identity to count.")
    return table[keep]


@styled
def images_by_identity(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many identities have how many images (junk and distractors left out)."""
    counts = _persons(_filled(table, "pid"))["pid"].value_counts().to_numpy()
    ax = axes_or_new(ax)
    top = int(counts.max())
    step = max(1, -(-top // 40))
    ax.hist(counts, bins=np.arange(0.5, top + step + 0.5, step).tolist(), color=PALETTE[0], edgecolor="white")
    median = float(np.median(counts))
    ax.axvline(median, color=PALETTE[1], linestyle="--", label=f"median {median:g}")
    ax.set(xlabel="images per identity (count)", ylabel="identities (count)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    text = f"Histogram of images per identity: {len(counts):,} identities, {counts.min()} to {top}, median {median:g}."
    set_alt(ax, text)
    return ax


@styled
def images_by_camera(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the images of each camera as bars, stacked by split where the table has splits."""
    _filled(table, "camid")
    split = table["split"] if "split" in table.columns else pd.Series("images", index=table.index)
    counts = pd.crosstab(table["camid"], split)
    counts = counts[_in_order(counts.columns)]
    ax = axes_or_new(ax, width=max(6.4, 0.35 * len(counts)))
    bottom = np.zeros(len(counts))
    for at, name in enumerate(counts.columns):
        heights = counts[name].to_numpy(dtype=float)
        hatch, colour = _HATCHES[at % len(_HATCHES)], PALETTE[at % len(PALETTE)]
        ax.bar(
            np.arange(len(counts)),
            heights,
            bottom=bottom,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=plain(name),
        )
        bottom += heights
    _name_ticks(ax, counts.index)
    ax.set(xlabel="camera (id)", ylabel="images (count)")
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.grid(axis="x", visible=False)
    if counts.shape[1] > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), title="split")
    set_alt(ax, f"Bars of images of {len(counts)} cameras, from {int(bottom.min()):,} to {int(bottom.max()):,} images.")
    return ax


def _name_ticks(ax: Axes, names: Any) -> None:
    """Write one name per bar: turned where they would touch, and then only every n-th."""
    labels = [plain(name, 24) for name in names]
    room = ax.get_window_extent().width / ax.get_figure(root=True).dpi  # type: ignore[union-attr]
    turned = len(labels) * (max(map(len, labels)) + 2) * 0.09 > room
    step = max(1, int(np.ceil(len(labels) * 0.22 / room))) if turned else 1
    rotation, align = (60, "right") if turned else (0, "center")
    ax.set_xticks(np.arange(0, len(labels), step), labels[::step], rotation=rotation, ha=align, rotation_mode="anchor")


def _in_order(splits: Any) -> list[Any]:
    """Put the splits in the order of the data flow."""
    known = ["train", "val", "query", "gallery", "multi_query"]
    return sorted(splits, key=lambda name: (known.index(name) if name in known else len(known), str(name)))


@styled
def images_by_split(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the images of each split as bars, with the number of images and identities written on them."""
    _filled(table, "split", "pid")
    counts = table["split"].value_counts()
    counts = counts[_in_order(counts.index)]
    ax = axes_or_new(ax, height=max(1.6, 0.5 * len(counts) + 1))
    ax.barh(np.arange(len(counts)), counts.to_numpy(), color=PALETTE[0])
    persons = table[_is_person(table)]
    for at, (name, count) in enumerate(counts.items()):
        n_pids = persons.loc[persons["split"] == name, "pid"].nunique()
        ax.annotate(
            f"{count:,} images, {n_pids:,} ids",
            (count, at),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    ax.set_yticks(np.arange(len(counts)), [plain(name, 24) for name in counts.index])
    ax.invert_yaxis()
    ax.set(xlabel="images (count)", ylabel="split", xlim=(0, 1.45 * counts.max()))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.grid(axis="y", visible=False)
    set_alt(ax, "Bars of images by split: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()) + ".")
    return ax


@styled
def identity_camera_map(table: pd.DataFrame, *, ax: Axes | None = None, top: int = 40) -> Axes:
    """Draw how many images each camera has of each of the `top` identities with most images."""
    people = _persons(_filled(table, "pid", "camid"))
    if top < 1:
        raise UserError(f"top={top} must be at least 1.")
    chosen = people["pid"].value_counts().index[:top]
    counts = pd.crosstab(people["camid"], people["pid"])[chosen]
    ax = axes_or_new(ax, width=max(5.0, 0.2 * len(chosen) + 2), height=max(3.2, 0.3 * len(counts) + 2.0))
    drawn = ax.imshow(counts.to_numpy(), aspect="auto", cmap="cividis", vmin=0)
    ax.grid(False)
    ax.figure.colorbar(drawn, ax=ax, label="images (count)", ticks=MaxNLocator(5, integer=True))
    _name_ticks(ax, counts.columns)
    step = -(-len(counts) // 25)
    ax.set_yticks(np.arange(0, len(counts), step), [plain(name, 24) for name in counts.index[::step]])
    ax.set(xlabel="identity (pid)", ylabel="camera (id)")
    if counts.to_numpy().min() == counts.to_numpy().max():  # one colour alone would look like an error
        ax.set_title(f"{counts.to_numpy().max():,} images of each identity in each camera", fontsize=9)
    blank = float((counts == 0).to_numpy().mean())
    set_alt(
        ax,
        f"Heat map of images of {len(chosen)} identities in {len(counts)} cameras; {blank:.0%} of the cells are empty.",
    )
    return ax


@styled
def image_sizes(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw height against width of the images; `table` has the columns width and height, in pixels."""
    _filled(table, "width", "height")
    sizes = table.groupby(["width", "height"]).size().reset_index(name="count")
    ax = axes_or_new(ax, width=5.2, height=4.2)
    area = 12 + 180 * sizes["count"] / sizes["count"].max()
    ax.scatter(sizes["width"], sizes["height"], s=area, color=PALETTE[0], alpha=0.5, linewidths=0)
    wide = float(table["width"].max()) * 1.08
    ax.plot([0, wide], [0, 2 * wide], color=PALETTE[6], linestyle="--", label="height = 2 x width")
    ax.set(
        xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, wide), ylim=(0, float(table["height"].max()) * 1.08)
    )
    ax.legend(loc="lower right")
    set_alt(
        ax,
        f"Image sizes: width {table['width'].min()} to {table['width'].max()}, "
        f"height {table['height'].min()} to {table['height'].max()} pixels, {len(sizes):,} different sizes.",
    )
    return ax


@styled
def distribution_overview(table: pd.DataFrame) -> Chart:
    """Draw splits and images by identity and, with cameras, images by camera and the identity-camera map."""
    cameras = "camid" in _filled(table, "pid", "split").columns
    figure = new_figure(12, 7 if cameras else 3.6)
    axes = figure.subplots(2 if cameras else 1, 2, squeeze=False, subplot_kw={"axes_class": ChartAxes}).ravel()
    images_by_split(table, ax=axes[0])
    images_by_identity(table, ax=axes[1])
    if cameras:
        images_by_camera(table, ax=axes[2])
        identity_camera_map(table, ax=axes[3], top=25)
    return figure
