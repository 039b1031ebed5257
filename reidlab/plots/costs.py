"""Figures of what models cost: multiply-adds or parameters against images per second."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from reidlab.errors import UserError
from reidlab.plots.labels import place_labels
from reidlab.plots.style import PALETTE, axes_or_new, set_alt, styled

__all__ = ["cost_chart"]

Box = tuple[float, float, float, float]  # left, bottom, right, top
_COSTS = {"macs": "multiply-adds per image", "parameters": "parameters"}
_KINDS = {"evaluation": (PALETTE[0], "o", PALETTE[0]), "training": (PALETTE[1], "s", "white")}


@styled
def cost_chart(costs: pd.DataFrame, *, cost: Literal["macs", "parameters"] = "macs", ax: Axes | None = None) -> Axes:
    """Draw what models cost against how fast they are; both axes are logarithmic.

    A model is a disc (evaluation) above a hollow square (training), each with a bar from its slowest to its fastest
    run. Models on the same dotted line do as many multiply-adds per second.

    Args:
        costs: one row per model, by name: macs or parameters, evaluation and training in images per second, and, where
            they are known, evaluation_slowest, evaluation_fastest, training_slowest and training_fastest.
        cost: column of the horizontal axis.
        ax: where.

    Raises:
        UserError: nothing to draw, a missing column, or a figure that is not above 0.
    """
    if cost not in _COSTS:
        raise UserError(f"cost={cost!r} is unknown; choose from {', '.join(_COSTS)}.")
    missing = [column for column in (cost, *_KINDS) if column not in costs]
    if missing or costs.empty:
        raise UserError(f"There is nothing to draw: {', '.join(missing) or 'no model'}.")
    if not (costs[[cost, *_KINDS]] > 0).all(axis=None):
        raise UserError("Costs and images per second must be above 0.")
    ax = axes_or_new(ax, *((8, 4.6) if len(costs) <= 12 else (9.5, 7.5)))
    x = costs[cost].to_numpy(dtype=np.float64)
    ax.vlines(x, costs["training"], costs["evaluation"], color="#BBBBBB", linewidth=1, zorder=1)
    for kind, (colour, sign, face) in _KINDS.items():
        speed = costs[kind].to_numpy(dtype=np.float64)
        low, high = (
            costs.get(f"{kind}_{end}", costs[kind]).to_numpy(dtype=np.float64) for end in ("slowest", "fastest")
        )
        ax.vlines(x, low, high, color=colour, linewidth=2.5, alpha=0.5, zorder=2)
        ax.scatter(
            x, speed, s=38, marker=sign, facecolors=face, edgecolors=colour, linewidths=1.4, zorder=3, label=kind
        )
    ax.set(xscale="log", yscale="log", xlabel=_COSTS[cost], ylabel="images per second")
    ax.margins(0.12, 0.1)
    ax.autoscale_view()
    _ticks(ax)
    ax.legend(loc="upper right" if cost == "macs" else "best")
    clear: list[Box] = _equal_work(ax) if cost == "macs" else []
    _name(ax, costs, x, clear)
    words = ", ".join(
        f"{name} {row[cost] / 1e6:.3g} M, {row['evaluation']:.3g} and {row['training']:.3g}"
        for name, row in costs.iterrows()
    )
    set_alt(
        ax,
        f"{_COSTS[cost].capitalize()} and images per second, at evaluation and in training, of {len(costs)} models: "
        f"{words}.",
    )
    return ax


def _ticks(ax: Axes) -> None:
    for axis, written in ((ax.xaxis, EngFormatter(sep=" ")), (ax.yaxis, FuncFormatter(lambda v, _: f"{v:,.6g}"))):
        low, high = axis.get_view_interval()
        few = high / low < 1000
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axis.set_minor_locator(NullLocator() if few else LogLocator(subs=(2, 5)))
        axis.set_major_formatter(written)
        axis.set_minor_formatter(FuncFormatter(lambda v, _: ""))


def _equal_work(ax: Axes) -> list[Box]:
    """Draw lines of equal multiply-adds per second; return the boxes of their labels in display coordinates."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    legend = ax.get_legend()
    boxes = []
    for power in range(int(np.ceil(np.log10(left * low))), int(np.log10(right * high)) + 1):
        work = 10.0**power
        if work / left < low * (high / low) ** 0.06:
            continue  # its label would lie on the axis
        ax.plot([left, right], [work / left, work / right], color="#999999", linestyle=":", linewidth=0.9, zorder=0)
        # where the line comes in, at the left or the upper edge
        x, y = (left, work / left) if work / left <= high else (work / high, high)
        text = ax.annotate(
            f" {EngFormatter(sep=' ')(work)}MAC/s", (x, y), fontsize=7.5, color="#6B6B6B", zorder=0,
            xytext=(3, -3), textcoords="offset points", va="top",
        )  # fmt: skip
        text.set_in_layout(False)
        box = text.get_window_extent()
        if legend is not None and box.overlaps(legend.get_window_extent()):
            text.remove()
            continue
        boxes.append(box.extents)
    ax.set(xlim=(left, right), ylim=(low, high))
    return boxes


def _name(ax: Axes, costs: pd.DataFrame, x: npt.NDArray[np.float64], clear: list[Box]) -> None:
    """Write the names beside the discs, clear of squares, bars and legend."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    around = figure.dpi / 72 * np.array([-4, -4, 4, 4])
    lower = ax.transData.transform(np.column_stack([x, costs["training"]]))
    upper = ax.transData.transform(np.column_stack([x, costs["evaluation"]]))
    covered = [np.concatenate([lower, lower], axis=1) + around]
    covered += [np.concatenate([lower, upper], axis=1) + around * [0.25, 0, 0.25, 0]]
    legend = ax.get_legend()
    if legend is not None:
        clear = [*clear, legend.get_window_extent().extents]
    covered += [np.array(clear).reshape(-1, 4)]
    points = np.column_stack([x, costs["evaluation"]])
    place_labels(ax, points, list(map(str, costs.index)), keep_clear=np.concatenate(covered))
