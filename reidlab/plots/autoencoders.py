"""Figures of autoencoders: what they decode, how their codes look, how their losses fall, what they are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.axes import Axes

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.augmentations import draw_strips, strip_of
from reidlab.plots.style import PALETTE, Chart, axes_or_new, new_figure, set_alt, styled

__all__ = ["activity_histogram", "decoded_figure", "difference_figure", "term_curves", "trade_off_figure"]

_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_COLUMNS = ("label", "difference", "low", "high", "noise")


@styled
def decoded_figure(
    rows: Mapping[str, npt.NDArray[np.uint8]], heads: Sequence[str], *, title: str = "", width: float = 0.62
) -> Chart:
    """Draw rows of images below each other, such as originals and what decoders make of them.

    Args:
        rows: by label, uint8 [image, height, width, 3], as many in each row.
        heads: what stands above each image of a row.
        title: above all.
        width: of an image, inches.

    Raises:
        UserError: no rows, other pixels, or rows and heads of other lengths.
    """
    if not rows or not len(heads):
        raise UserError("There is nothing to draw: give a row of images or more, and a head for each image of a row.")
    for label, images in rows.items():
        pixels = np.asarray(images)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or len(pixels) != len(heads):
            raise UserError(
                f"Row {label!r} must be uint8 [{len(heads)}, height, width, 3]; got {pixels.dtype} "
                f"{list(pixels.shape)}."
            )
    strips = {label: strip_of(torch.from_numpy(np.array(row)).permute(0, 3, 1, 2)) for label, row in rows.items()}
    figure = draw_strips(strips, width * len(heads), title, heads=heads)
    set_alt(figure, f"{title or 'Images'}: rows {', '.join(rows)}; columns {', '.join(heads)}.")
    return figure


@styled
def activity_histogram(codes: Mapping[str, npt.ArrayLike], ax: Axes | None = None, *, tiny: float = 0.01) -> Axes:
    """Draw how many numbers of a code are in use: the distribution over images, a line for each kind.

    A number is in use where its size is more than `tiny` of the largest of its image.

    Args:
        codes: by kind, codes as they are [image, code].
        ax: where; None makes a figure.
        tiny: share of the largest number of an image.

    Raises:
        UserError: no codes, or not [image, code].
    """
    if not codes:
        raise UserError("There are no codes to draw.")
    ax = axes_or_new(ax)
    edges, told = np.linspace(0, 100, 41), []
    for place, (kind, given) in enumerate(codes.items()):
        values = np.abs(np.asarray(given, dtype=np.float64))
        if values.ndim != 2 or not values.size:
            raise UserError(f"Codes of {kind!r} must be [image, code]; got {list(values.shape)}.")
        used = 100 * (values > tiny * values.max(axis=1, keepdims=True)).mean(axis=1)
        share, _ = np.histogram(used, edges)
        ax.stairs(
            100 * share / len(used), edges, color=PALETTE[place % len(PALETTE)], linewidth=2,
            linestyle=_LINES[place % len(_LINES)], label=f"{plain(kind)}: median {np.median(used):.0f} %",
        )  # fmt: skip
        told.append(f"{kind} median {np.median(used):.0f} %")
    ax.set(xlabel="numbers of the code in use (%)", ylabel="images (%)", xlim=(0, 100))
    ax.legend(loc="best")
    set_alt(ax, f"Share of the numbers of a code in use, over images: {', '.join(told)}.")
    return ax


@styled
def term_curves(histories: Mapping[str, pd.DataFrame], *, columns: int = 3) -> Chart:
    """Draw each term of the loss over the epochs, a panel for each term, a line for each kind that has it.

    Args:
        histories: by kind, one row an epoch with `epoch` and columns loss_<term>.
        columns: panels beside each other.

    Raises:
        UserError: no term in any of them.
    """
    terms = dict.fromkeys(str(c) for frame in histories.values() for c in frame if str(c).startswith("loss_"))
    if not terms:
        raise UserError("The histories have no column loss_<term>; `stages.history_of` gives them.")
    columns = min(columns, len(terms))
    rows = math.ceil(len(terms) / columns)
    figure = new_figure(3.1 * columns, 2.3 * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    handles, told = {}, []
    for ax, term in zip(grid, terms):
        for place, (kind, frame) in enumerate(histories.items()):
            if term not in frame:
                continue
            (handles[kind],) = ax.plot(
                frame["epoch"], frame[term], color=PALETTE[place % len(PALETTE)], markersize=4,
                linestyle=_LINES[place % len(_LINES)], marker=_MARKERS[place % len(_MARKERS)],
            )  # fmt: skip
            told.append(
                f"{term.removeprefix('loss_')} of {kind} {frame[term].iloc[0]:.3g} to {frame[term].iloc[-1]:.3g}"
            )
        ax.set_title(plain(term.removeprefix("loss_").replace("_", " ")), fontsize=10)
        ax.set(xlabel="epoch", ylabel="loss")
        ax.locator_params(axis="x", integer=True, nbins=5)
    for ax in grid[len(terms) :]:
        ax.set_axis_off()
    figure.legend(list(handles.values()), [plain(kind) for kind in handles], loc="outside upper center", ncols=6)
    set_alt(figure, f"Terms of the loss from the first epoch to the last: {'; '.join(told)}.")
    return figure


@styled
def difference_figure(
    differences: pd.DataFrame, ax: Axes | None = None, *, against: str = "the plain backbone"
) -> Axes:
    """Draw differences of mAP with their intervals, one below the other; what may be chance is hollow and grey.

    Args:
        differences: a row for each model: label, difference, low, high (shares from -1 to 1), noise (bool).
        ax: where; None makes a figure.
        against: what they are compared with.

    Raises:
        UserError: a missing column, or no row.
    """
    missing = [name for name in _COLUMNS if name not in differences.columns]
    if missing or differences.empty:
        raise UserError(f"The differences have no {f'column {missing[0]!r}' if missing else 'row'}.")
    ax = axes_or_new(ax, 6.4, 0.9 + 0.4 * len(differences))
    told = []
    for place, row in enumerate(differences.to_dict("records")):
        middle, low, high = (100 * row[name] for name in ("difference", "low", "high"))
        colour, face = (PALETTE[6], "white") if row["noise"] else (PALETTE[0], PALETTE[0])
        ax.plot([low, high], [place, place], color=colour, linewidth=2, linestyle=":" if row["noise"] else "-")
        ax.plot([middle], [place], marker="o", color=colour, markerfacecolor=face, markersize=7)
        said = "may be chance" if row["noise"] else "more than chance"
        told.append(f"{row['label']} {middle:+.1f} ({low:+.1f} to {high:+.1f}), {said}")
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(differences)), [plain(label) for label in differences["label"]])
    ax.set(xlabel=f"mAP against {plain(against)} (points)", ylabel="model", ylim=(len(differences) - 0.5, -0.5))
    set_alt(ax, f"Difference of mAP to {against}, points: {'; '.join(told)}.")
    return ax


@styled
def trade_off_figure(points: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw mAP against reconstruction error; filled points on the line are those that no other one beats in both.

    Args:
        points: a row for each model: label, mAP (share), error, front (bool).
        ax: where; None makes a figure.

    Raises:
        UserError: a missing column, or no row.
    """
    missing = [name for name in ("label", "mAP", "error", "front") if name not in points.columns]
    if missing or points.empty:
        raise UserError(f"The points have no {f'column {missing[0]!r}' if missing else 'row'}.")
    ax = axes_or_new(ax, 6.4, 4.0)
    front = points[points["front"]].sort_values("error", kind="stable")
    ax.plot(front["error"], 100 * front["mAP"], color=PALETTE[0], linewidth=1.5)
    for row in points.to_dict("records"):
        colour = PALETTE[0] if row["front"] else PALETTE[6]
        face = colour if row["front"] else "white"
        ax.plot([row["error"]], [100 * row["mAP"]], "o", color=colour, markerfacecolor=face, markersize=7)
        ax.annotate(
            plain(str(row["label"]), 40), (row["error"], 100 * row["mAP"]), xytext=(6, 4), textcoords="offset points",
            fontsize=9,
        )  # fmt: skip
    ax.margins(0.15)
    ax.set(xlabel="reconstruction error (loss of the last epoch; left is better)", ylabel="mAP (%)")
    told = "; ".join(f"{row['label']} {100 * row['mAP']:.1f} %, {row['error']:.3g}" for row in front.to_dict("records"))
    set_alt(ax, f"mAP against reconstruction error of {len(points)} models. None is better in both than {told}.")
    return ax
