"""Figures of corrupted images: what they look like, and how scores fall with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from reidlab.data.transforms.corruptions import CORRUPTIONS, corrupt
from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.augmentations import draw_strips, strip_of
from reidlab.plots.style import PALETTE, Chart, new_figure, set_alt, styled

__all__ = ["corruption_figure", "robustness_figure"]

_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_COLUMNS = {"model", "corruption", "severity", "mAP", "low", "high"}


@styled
def corruption_figure(
    images: npt.NDArray[np.uint8],
    corruptions: Sequence[str] = (),
    *,
    severities: Sequence[int] = (1, 3, 5),
    seed: int = 0,
) -> Chart:
    """Draw a row for each corruption: every image as it is, then corrupted by each severity.

    Args:
        images: uint8 [image, height, width, 3].
        corruptions: registered names; none for all.
        severities: from 1 to 5.
        seed: of the draws.

    Raises:
        UserError: no images, other pixels, an unknown name, no severity or another one than 1 to 5.
    """
    pixels = np.asarray(images)
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or not len(pixels):
        raise UserError(f"Images must be uint8 [image, height, width, 3], at least one; got {list(pixels.shape)}.")
    if not len(severities):
        raise UserError("At least one severity from 1 to 5 is needed.")
    batch = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)
    names = list(corruptions) or list(CORRUPTIONS)
    rows = {}
    for name in names:
        steps = [batch, *(corrupt(batch, name, severity=severity, seed=seed) for severity in severities)]
        shown = torch.stack(steps, dim=1).flatten(0, 1)  # image by image, each with its severities
        rows[name.replace("_", " ")] = strip_of(shown)
    heads = ["clean", *map(str, severities)] * len(pixels)
    figure = draw_strips(rows, 0.56 * len(heads), "severity of the corruption", heads=heads)
    shown_names = ", ".join(names)
    set_alt(
        figure,
        f"{len(pixels)} images as they are and with severities {', '.join(map(str, severities))} of: {shown_names}.",
    )
    return figure


@styled
def robustness_figure(scores: pd.DataFrame, *, columns: int = 3) -> Chart:
    """Draw mAP against severity: a panel for each corruption, a line for each model, severity 0 as the clean images.

    Bands are the 95 % intervals. Models differ in colour, line and sign.

    Args:
        scores: a row for each model, corruption and severity: model, corruption ("" for the clean images), severity,
            mAP, low, high (shares from 0 to 1), as `stages.robustness_grid` gives them.
        columns: panels beside each other.

    Raises:
        UserError: a missing column, no corruption, or no clean score of a model.
    """
    missing = sorted(_COLUMNS - set(scores.columns))
    if missing:
        raise UserError(f"The scores have no column {missing[0]!r}; `stages.robustness_grid` gives all that is needed.")
    names, models = [name for name in scores["corruption"].unique() if name], list(scores["model"].unique())
    clean = scores[scores["corruption"] == ""]
    without = [model for model in models if model not in set(clean["model"])]
    if not names or without:
        what = f"no clean score of {without[0]}" if without else "no corruption"
        raise UserError(f"There is nothing to compare: {what}.")
    columns = min(columns, len(names))
    rows = math.ceil(len(names) / columns)
    figure = new_figure(2.75 * columns, 2.1 * rows + 0.7)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax, name in zip(grid.ravel(), names):
        _panel(ax, name, pd.concat([clean, scores[scores["corruption"] == name]]), models)
    highest = 100 * max(scores["mAP"].max(), scores["high"].fillna(0).max())
    grid[0, 0].set(ylim=(0, min(100, 25 * math.ceil(max(highest, 1) / 25))))  # shared by all panels
    for place, ax in enumerate(grid.ravel()):
        if place >= len(names):
            ax.set_axis_off()
        elif place + columns >= len(names):  # the lowest panel of its column
            ax.tick_params(labelbottom=True)
    figure.supxlabel("severity (0: as they are)", fontsize=10)
    figure.supylabel("mAP (%)", fontsize=10)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(models)))
    set_alt(figure, _words(scores, names, models))
    return figure


def _panel(ax: Axes, name: str, scores: pd.DataFrame, models: Sequence[str]) -> None:
    for place, model in enumerate(models):
        mine = scores[scores["model"] == model].sort_values("severity")
        colour = PALETTE[place % len(PALETTE)]
        ax.plot(
            mine["severity"], 100 * mine["mAP"], color=colour, linestyle=_LINES[place % len(_LINES)],
            marker=_MARKERS[place % len(_MARKERS)], markersize=5, label=plain(model),
        )  # fmt: skip
        ax.fill_between(mine["severity"], 100 * mine["low"], 100 * mine["high"], color=colour, alpha=0.15, linewidth=0)
    ax.set_title(plain(name.replace("_", " ")), fontsize=10)
    ax.set_xticks(sorted(scores["severity"].unique()))
    ax.yaxis.set_major_locator(MultipleLocator(25))


def _words(scores: pd.DataFrame, names: Sequence[str], models: Sequence[str]) -> str:
    told = []
    for model in models:
        mine = scores[scores["model"] == model].sort_values("severity").groupby("corruption")["mAP"].last()
        worst = [f"{name} {100 * mine[name]:.0f} %" for name in names if name in mine]
        told.append(f"{model} {100 * mine['']:.0f} % clean, at the highest severity {', '.join(worst)}")
    return f"mAP against the severity of {len(names)} corruptions: {'; '.join(told)}."
