"""Show how a training went, from its history: one row per epoch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, Chart, ChartAxes, new_figure, set_alt, styled

__all__ = ["history_table", "training_history"]

_SHARES = {
    "wait_share": "time waiting for data",
    "accuracy": "accuracy in training",
    "active_share": "active triplets",
    "val_map": "validation mAP",
    "val_rank1": "validation rank-1",
    "val_rank5": "validation rank-5",
}
_TITLES = {"lr": "learning rate", "d_ap": "distance anchor to positive", "d_an": "distance anchor to negative"}
_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "x")


def _has(history: pd.DataFrame, column: str) -> bool:
    return column in history.columns and bool(history[column].notna().any())


def _draw(ax: Axes, history: pd.DataFrame, columns: dict[str, str], scale: float = 1) -> None:
    """Draw columns over the epochs; rows without a value (epochs without validation) are skipped, not broken at."""
    for at, (column, label) in enumerate(columns.items()):
        rows = history[history[column].notna()]
        marker = _MARKERS[at % len(_MARKERS)] if len(rows) <= 30 else ""
        ax.plot(
            rows["epoch"], rows[column] * scale, label=plain(label), color=PALETTE[at % len(PALETTE)],
            linestyle=_LINES[at % len(_LINES)], marker=marker, markersize=4,
        )  # fmt: skip


def _panels(history: pd.DataFrame) -> list[tuple[str, dict[str, str], float]]:
    """List what can be drawn: y label, column -> legend entry, factor."""
    parts = {
        c: str(c).removeprefix("loss_") for c in history.columns if str(c).startswith("loss_") and _has(history, c)
    }
    wanted: list[tuple[str, dict[str, str], float]] = [
        ("loss", {"loss": "total"} | (parts if len(parts) > 1 else {}), 1),
        ("retrieval on validation (%)", {"val_map": "mAP", "val_rank1": "rank-1"}, 100),
        ("learning rate", {"lr": "learning rate"}, 1),
        ("active triplets (%)", {"active_share": "share with a loss above 0"}, 100),
        ("distance in the batch", {"d_ap": "anchor to positive", "d_an": "anchor to negative"}, 1),
        ("images per second", {"images_per_second": "images per second"}, 1),
        ("waiting for data (%)", {"wait_share": "share of the epoch"}, 100),
    ]
    found = [
        (label, {c: name for c, name in names.items() if _has(history, c)}, scale) for label, names, scale in wanted
    ]
    return [panel for panel in found if panel[1]]


def _mark_best(ax: Axes, history: pd.DataFrame) -> str:
    """Mark the epoch of the highest validation mAP and say it."""
    row = history.iloc[int(np.nanargmax(history["val_map"]))]
    epoch, value = int(row["epoch"]), 100 * float(row["val_map"])
    ax.axvline(epoch, color=PALETTE[6], linewidth=1, linestyle=":")
    ax.plot(
        [epoch],
        [value],
        marker="*",
        markersize=13,
        color=PALETTE[6],
        linestyle="",
        label=f"best: epoch {epoch}, {value:.1f} %",
    )
    return f" Best validation mAP {value:.1f} % in epoch {epoch}."


def _grid(count: int, above: float) -> tuple[Chart, list[Any]]:
    """Make axes in rows of up to four, all rows of the same width: no place stays empty."""
    rows = -(-count // 4)
    in_row = [count // rows + (row < count % rows) for row in range(rows)]
    figure = new_figure(3.7 * max(in_row), 2.8 * rows + above)
    across = math.lcm(*in_row)
    grid = figure.add_gridspec(rows, across)
    axes = []
    for row, places in enumerate(in_row):
        wide = across // places
        spots = [grid[row, at * wide : (at + 1) * wide] for at in range(places)]
        axes += [figure.add_subplot(spot, axes_class=ChartAxes) for spot in spots]
    return figure, axes


@styled
def training_history(history: pd.DataFrame, *, title: str = "") -> Chart:
    """Draw loss, validation, learning rate, active triplets, distances and speed over the epochs.

    Args:
        history: columns epoch and any of loss, loss_<part>, lr, active_share, d_ap, d_an, images_per_second,
            wait_share, val_map, val_rank1 (shares from 0 to 1); missing and empty ones are left out.
        title: above all.

    Raises:
        UserError: no rows, no epochs, or nothing that can be drawn.
    """
    if "epoch" not in history.columns or history.empty:
        raise UserError("A training history needs the column 'epoch' and at least one row.")
    panels = _panels(history)
    if not panels:
        raise UserError(f"The history has nothing to draw; its columns are {', '.join(map(str, history.columns))}.")
    figure, axes = _grid(len(panels), 0.35 if title else 0)
    alt = f"Training history, epochs {history['epoch'].min():g} to {history['epoch'].max():g}."
    for ax, (label, names, scale) in zip(axes, panels):
        _draw(ax, history, names, scale)
        if "val_map" in names:
            alt += _mark_best(ax, history)
        ax.set(xlabel="epoch", ylabel=label, xlim=(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5))
        ax.ticklabel_format(axis="y", scilimits=(-3, 4))
        few = len(history) <= 6
        ax.xaxis.set_major_locator(FixedLocator(history["epoch"].tolist()) if few else MaxNLocator(5, integer=True))
        if "wait_share" in names:
            ax.set_ylim(bottom=0)
        if len(names) > 1 or "val_map" in names:
            ax.legend()
    if title:
        figure.suptitle(plain(title, 100), fontsize=12)
    set_alt(figure, alt)
    return figure


def history_table(history: pd.DataFrame, last: int = 5) -> pd.DataFrame:
    """Return the last epochs of a history as a readable table: a column per epoch, a row per measure, shares in %."""
    if "epoch" not in history.columns or last < 1:
        raise UserError(f"A table of a training needs the column 'epoch' and at least one epoch; got last={last}.")
    shown = history.tail(last)
    epochs = pd.Index([f"{epoch:g}" for epoch in shown["epoch"]], name="epoch")
    rows = {
        _title(str(name)): [_written(str(name), value) for value in shown[name]] for name in shown.columns.drop("epoch")
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=epochs)


def _title(name: str) -> str:
    if name in _SHARES:
        return f"{_SHARES[name]} (%)"
    return _TITLES.get(name, f"loss: {name.removeprefix('loss_')}" if name.startswith("loss_") else name).replace(
        "_", " "
    )


def _written(name: str, value: float) -> str:
    if pd.isna(value):
        return "–"
    if name in _SHARES:
        return f"{100 * value:.1f}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:.3g}"
