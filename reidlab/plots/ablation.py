"""Figures of a sweep's effects: the mean of every level of every factor, and how factors depend on each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, Chart, ChartAxes, new_figure, set_alt, styled

__all__ = ["interaction_chart", "level_chart"]

_SIGNS = "osD^vP"
_LINES = ("solid", "dashed", "dotted", "dashdot")
_ACROSS = 3  # panels in a row


@styled
def level_chart(levels: pd.DataFrame, *, measure: str) -> Chart:
    """Draw the mean of each level of each factor, over all other factors, with its 95 % interval; a panel a factor.

    The dashed line is the mean over all levels.

    Args:
        levels: factor, level, mean, low, high (NaN: no interval), as `sweeps.Effects.levels`.
        measure: names the vertical axis.

    Raises:
        UserError: a missing column or no row.
    """
    _check(levels, ("factor", "level", "mean", "low", "high"))
    groups = list(levels.groupby("factor", sort=False))
    figure, panels = _panels(len(groups))
    for ax, (factor, part) in zip(panels, groups):
        means = part["mean"].to_numpy(np.float64)
        reach = np.stack([means - part["low"], part["high"] - means]).astype(np.float64)
        ax.axhline(means.mean(), color="#7F7F7F", linestyle="dashed", linewidth=1, zorder=0)
        ax.errorbar(range(len(part)), means, yerr=np.nan_to_num(reach), fmt="o", color=PALETTE[0], capsize=4)
        _levels(ax, list(part["level"]), str(factor))
    panels[0].set_ylabel(plain(measure, 40))
    told = "; ".join(f"{row.factor} {row.level} {row.mean:.4g}" for row in levels.itertuples())
    set_alt(figure, f"Mean {plain(measure, 40)} of each level with 95 % intervals: {plain(told, 1000)}.")
    return figure


@styled
def interaction_chart(cells: pd.DataFrame, factors: Mapping[str, Sequence[str]], *, measure: str) -> Chart:
    """Draw means over the levels of one factor, a line for each level of another; a panel for each two factors.

    Where lines run side by side, neither factor changes what the other does.

    Args:
        cells: a row per combination: the factors and mean, as `sweeps.Effects.cells`.
        factors: names and levels in their order; at least two.
        measure: names the vertical axis.

    Raises:
        UserError: fewer than two factors, a missing column, or no row.
    """
    if len(factors) < 2:
        raise UserError(f"Interactions need two factors; got {', '.join(factors) or 'none'}.")
    _check(cells, (*factors, "mean"))
    pairs = list(itertools.combinations(factors, 2))
    figure, panels = _panels(len(pairs))
    for ax, (along, other) in zip(panels, pairs):
        means = cells.groupby([along, other], sort=False)["mean"].mean()
        for at, level in enumerate(factors[other]):
            line = [means[key, level] for key in factors[along]]
            ax.plot(
                range(len(line)), line, color=PALETTE[at % len(PALETTE)], marker=_SIGNS[at % len(_SIGNS)],
                linestyle=_LINES[at % len(_LINES)], label=plain(level, 24),
            )  # fmt: skip
        _levels(ax, list(factors[along]), along)
        ax.legend(title=plain(other, 24), fontsize=8, title_fontsize=8)
    panels[0].set_ylabel(plain(measure, 40))
    names = "; ".join(f"{along} and {other}" for along, other in pairs)
    set_alt(figure, f"Mean {plain(measure, 40)} by each two factors: {plain(names, 1000)}.")
    return figure


def _check(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in frame]
    if missing or frame.empty:
        raise UserError(f"There is nothing to draw: {f'no column {missing[0]!r}' if missing else 'no row'}.")


def _panels(count: int) -> tuple[Chart, list[Axes]]:
    """Return a figure with so many panels that share the vertical axis."""
    across = min(count, _ACROSS)
    down = -(-count // across)
    figure = new_figure(max(4.2, 3.2 * across), 3.2 * down)
    panels: list[Axes] = []
    for place in range(1, count + 1):
        shared = panels[0] if panels else None
        panels.append(figure.add_subplot(down, across, place, axes_class=ChartAxes, sharey=shared))
    return figure, panels


def _levels(ax: Axes, levels: Sequence[str], factor: str) -> None:
    longest = max(map(len, levels))
    turned: dict[str, Any] = {"rotation": 20, "ha": "right"} if longest > 14 or len(levels) > 4 else {}
    ax.set_xticks(range(len(levels)), [plain(level, 24) for level in levels], **turned)
    ax.set_xlim(-0.5, len(levels) - 0.5)
    ax.set_xlabel(plain(factor, 30))
