"""What accuracy costs: models by score and multiply-adds or speed, and those that no other one beats in both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.labels import place_labels
from reidlab.plots.style import PALETTE, Chart, ChartAxes, new_figure, set_alt, styled

__all__ = ["pareto_chart"]

_COSTS = {"macs": "multiply-adds per image", "speed": "images per second on this machine"}
_FRONT: dict[str, Any] = {"marker": "o", "facecolors": PALETTE[0], "edgecolors": PALETTE[0]}
_BEATEN: dict[str, Any] = {"marker": "s", "facecolors": "white", "edgecolors": PALETTE[1]}
_NAMED = 15  # models of a panel that have their names beside them; the front always has


@styled
def pareto_chart(scores: pd.DataFrame, *, measure: str = "mAP") -> Chart:
    """Draw the score of every model against what it costs; a row of panels for each test set.

    Filled discs on the line are models that no other model of the panel beats in both; hollow squares are beaten. Bars
    are 95 % intervals. A cost that is known of no model of a test set leaves its panel empty.

    Args:
        scores: test_set, model, the measure with _low and _high (shares; intervals may be NaN), macs and speed (NaN
            where unknown), front_macs and front_speed (bool).
        measure: column of the vertical axis.

    Raises:
        UserError: a missing column or no row.
    """
    wanted = ["test_set", "model", measure, f"{measure}_low", f"{measure}_high"]
    wanted += [name for cost in _COSTS for name in (cost, f"front_{cost}")]
    missing = [name for name in wanted if name not in scores]
    if missing or scores.empty:
        raise UserError(f"There is nothing to draw: {f'no column {missing[0]!r}' if missing else 'no score'}.")
    groups = list(scores.groupby("test_set", sort=False))
    figure = new_figure(10.5, 3.9 * len(groups))
    for row, (name, part) in enumerate(groups):
        for column, cost in enumerate(_COSTS):
            ax = figure.add_subplot(len(groups), 2, 2 * row + column + 1, axes_class=ChartAxes)
            _panel(ax, part, cost, measure)
            if not column:
                ax.set_title(plain(str(name), 60), loc="left")
    signs = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=style["marker"],
            markersize=6,
            markerfacecolor=style["facecolors"],
            markeredgecolor=style["edgecolors"],
        )
        for style in (_FRONT, _BEATEN)
    ]
    figure.legend(signs, ["not beaten in both", "beaten"], loc="outside upper right", ncols=2)
    fronts = [f"{row.model} on {row.test_set}" for row in scores.itertuples() if row.front_macs]
    said = plain(", ".join(fronts), 1000) or "none"
    set_alt(figure, f"{measure} against multiply-adds and speed; no other model beats in score and work: {said}.")
    return figure


def _panel(ax: Axes, scores: pd.DataFrame, cost: str, measure: str) -> None:
    known = scores[scores[cost].notna() & (scores[cost] > 0)]
    ax.set(xlabel=_COSTS[cost], ylabel=f"{measure} (%)")
    if known.empty:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "not known of any model here", transform=ax.transAxes, ha="center", color="#6B6B6B")
        return
    x, y = known[cost].to_numpy(np.float64), 100 * known[measure].to_numpy(np.float64)
    reach = 100 * np.stack([known[measure] - known[f"{measure}_low"], known[f"{measure}_high"] - known[measure]])
    front = known[f"front_{cost}"].to_numpy(bool)
    ax.errorbar(x, y, yerr=np.nan_to_num(reach.astype(np.float64)), fmt="none", color="#BBBBBB", zorder=1)
    order = np.argsort(x[front])
    ax.plot(x[front][order], y[front][order], color=PALETTE[0], linewidth=1, zorder=2)
    for here, style in ((front, _FRONT), (~front, _BEATEN)):
        ax.scatter(x[here], y[here], s=40, linewidths=1.4, zorder=3, **style)
    _scale(ax, x)
    ax.margins(0.15, 0.15)
    named = front | (np.arange(len(x)) < _NAMED)
    texts = [plain(model, 32) for model in known["model"][named]]
    place_labels(ax, np.stack([x[named], y[named]], axis=1), texts, fontsize=8, radius=7)


def _scale(ax: Axes, x: np.ndarray) -> None:
    """Make the horizontal axis logarithmic where costs differ much."""
    written = EngFormatter(sep=" ")
    if x.max() > 3 * x.min():
        ax.set_xscale("log")
        if x.max() < 1000 * x.min():
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    ax.xaxis.set_major_formatter(written)
