"""Curves of several trainings over their epochs, a figure each; what tells the trainings apart, as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.ticker import MaxNLocator

from reidlab.explorers.trainings import Training
from reidlab.explorers.twins import text
from reidlab.figure_text import cut
from reidlab.plots.style import PALETTE, Chart, ChartAxes, new_figure, set_alt, styled

__all__ = [
    "CURVES",
    "MOST",
    "Curve",
    "curve_figure",
    "curves_of",
    "shown_first",
    "slots_of",
    "smoothed",
    "training_table",
]

MOST = len(PALETTE)  # trainings at once: as many as can be told apart
LINES = {"solid": "-", "dashed": "--", "dotted": ":", "double": "-."}  # of CSS, and as Matplotlib calls what is like it
_CELL = "text-align:left;padding:1px 8px 1px 0"
FEW = 30  # epochs up to which each is marked

# column of a history -> its name, what its values are multiplied with, the unit
Curve = tuple[str, float, str]
CURVES: dict[str, Curve] = {
    "loss": ("loss", 1, ""),
    "val_map": ("validation mAP", 100, "%"),
    "val_rank1": ("validation rank-1", 100, "%"),
    "lr": ("learning rate", 1, ""),
    "active_share": ("active triplets", 100, "%"),
    "d_ap": ("distance to the hardest positive", 1, ""),
    "d_an": ("distance to the nearest negative", 1, ""),
    "accuracy": ("accuracy in training", 100, "%"),
    "images_per_second": ("images per second", 1, ""),
    "wait_share": ("time waiting for data", 100, "%"),
}


def curves_of(trainings: Sequence[Training]) -> dict[str, Curve]:
    """Return the curves that any of the trainings has, parts of the loss at the end."""
    there = {str(name) for each in trainings for name in each.history if each.history[name].notna().any()}
    parts = sorted(name for name in there if name.startswith("loss_"))
    known = {name: curve for name, curve in CURVES.items() if name in there}
    return known | {name: (f"loss: {cut(name.removeprefix('loss_'), 30)}", 1, "") for name in parts}


def shown_first(trainings: Mapping[str, Training]) -> list[str]:
    """Return the keys of trainings that are worth a look: those that are not done and the newest that is."""
    not_done = [key for key, each in trainings.items() if not each.done]
    return [*not_done, *[key for key, each in trainings.items() if each.done][:1]][:MOST]


def slots_of(chosen: Sequence[str], before: Mapping[str, int]) -> dict[str, int]:
    """Return a slot for each chosen key, lowest slot first; one keeps its slot, and so its colour, while it is chosen.

    Args:
        chosen: keys of trainings, `MOST` at most.
        before: slots that were given last time.
    """
    slots = {key: slot for key, slot in before.items() if key in chosen}
    for key in chosen:
        if key not in slots:
            slots[key] = next(slot for slot in range(MOST) if slot not in slots.values())
    return dict(sorted(slots.items(), key=lambda pair: pair[1]))


def smoothed(values: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Return the exponential mean of values [epoch] without its bias towards the first; `share` 0 changes nothing.

    Args:
        values: finite numbers.
        share: of the mean that stays at each step, at least 0 and below 1.
    """
    out, mean, weight = np.empty(len(values)), 0.0, 0.0
    for at, value in enumerate(values):
        mean, weight = share * mean + (1 - share) * value, share * weight + (1 - share)
        out[at] = mean / weight
    return out


@styled
def curve_figure(trainings: Mapping[int, Training], column: str, curve: Curve, *, smoothing: float = 0) -> Chart:
    """Draw one curve of trainings.

    Args:
        trainings: by their slot, which says colour and line.
        column: of their histories; those without it are left out.
        curve: its name, factor and unit.
        smoothing: as `smoothed` takes it; the values themselves are drawn faint.
    """
    name, factor, unit = curve
    figure = new_figure(3.75, 2.6)  # two side by side on a page of 800 pixels
    ax = figure.add_subplot(axes_class=ChartAxes)
    words, last = [], 1.0
    for slot, training in trainings.items():
        rows = _rows(training.history, column)
        if rows.empty:
            continue
        epochs, values = rows["epoch"].to_numpy(np.float64), factor * rows[column].to_numpy(np.float64)
        colour, line = PALETTE[slot % MOST], list(LINES.values())[slot % len(LINES)]
        marker = "o" if len(rows) <= FEW else ""
        if smoothing:
            ax.plot(epochs, values, color=colour, linewidth=0.8, alpha=0.35)
            values = smoothed(values, smoothing)
            marker = ""
        ax.plot(epochs, values, color=colour, linestyle=line, marker=marker, markersize=3)
        last = max(last, epochs[-1])
        words.append(f"{training.name} from {values[0]:.4g} to {values[-1]:.4g} in epoch {epochs[-1]:g}")
    ax.set(xlabel="epoch", ylabel=f"{name.replace('$', '')} ({unit})" if unit else name.replace("$", ""))
    ax.set_xlim(0.5, last + 0.5)
    ax.ticklabel_format(axis="y", scilimits=(-3, 4))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    set_alt(figure, f"{name} over the epochs: {'; '.join(words) or 'no values yet'}.")
    return figure


def _rows(history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the epochs that have a finite value; an epoch without validation has none."""
    if column not in history:
        return history.iloc[:0]
    return history[np.isfinite(history[column].astype(float))]


def training_table(trainings: Mapping[int, Training]) -> str:
    """Return a table of trainings by their slot as HTML: their line, recipe, epochs, best mAP, minutes, state."""
    head = ("", "training", "recipe", "data", "epochs", "best mAP (%)", "in epoch", "minutes", "state")
    rows = []
    for slot, each in trainings.items():
        best = each.best
        cells = [
            each.name,
            each.recipe,
            each.dataset or "?",
            f"{each.epochs:,} of {each.planned:,}",
            "–" if best is None else f"{100 * best[0]:.2f}",
            "–" if best is None else str(best[1]),
            "–" if math.isnan(each.minutes) else f"{each.minutes:.1f}",
            each.state,
        ]
        columns = "".join(f'<td style="{_CELL}">{text(cell)}</td>' for cell in cells)
        rows.append(f"<tr>{_sample(slot)}{columns}</tr>")
    top = "".join(f'<th style="{_CELL}">{text(name)}</th>' for name in head)
    return f'<div style="overflow-x:auto;overflow-wrap:normal"><table><tr>{top}</tr>{"".join(rows)}</table></div>'


def _sample(slot: int) -> str:
    """Return a cell with the line of a slot, its colour and kind in words for those who do not see it."""
    line = list(LINES)[slot % len(LINES)]
    style = f"width:32px;border-top:3px {line} {PALETTE[slot % MOST]}"
    return f'<td><div role="img" aria-label="{line} line" style="{style}"></div></td>'
