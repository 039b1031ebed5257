"""Figures of what was measured of attention maps: agreement with masks, deletion and insertion curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, Chart, new_figure, set_alt, styled

__all__ = ["agreement_figure", "deletion_curves"]

BASELINES = ("uniform", "random", "centre")
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_TITLES = {
    "person": ("share on the person (%)", "person"),
    "pointing": ("highest place on the person (%)", "pointing"),
    "deletion": ("area under deletion (low is good)", "deletion"),
    "insertion": ("area under insertion (high is good)", "insertion"),
}
_PER_CENT = ("person", "pointing")


@styled
def agreement_figure(table: pd.DataFrame) -> Chart:
    """Draw each measure in a panel: a line for each method with its mean and 95 % interval, baselines below in grey.

    The dotted line is the best baseline: what lies beyond it, on the good side, tells something about the model.

    Args:
        table: a row for each method and measure: method, measure ("person", "pointing", "deletion", "insertion"), mean,
            low, high; shares from 0 to 1.

    Raises:
        UserError: a missing column, or none of these measures.
    """
    missing = sorted({"method", "measure", "mean", "low", "high"} - set(table.columns))
    if missing:
        raise UserError(f"The table has no column {missing[0]!r}.")
    measures = [name for name in _TITLES if (table["measure"] == name).any()]
    if not measures:
        raise UserError(f"The table has none of the measures {', '.join(_TITLES)}.")
    names = list(dict.fromkeys(table["method"]))
    names = [name for name in names if name not in BASELINES] + [name for name in names if name in BASELINES]
    figure = new_figure(1.6 + 2.35 * len(measures), 0.9 + 0.27 * len(names))
    axes = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
    for ax, measure in zip(axes, measures):
        _panel(ax, table[table["measure"] == measure].set_index("method"), names, measure)
    axes[0].set_yticks(range(len(names)), [plain(name.replace("_", " "), 24) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    set_alt(figure, _words(table, measures, names))
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, names: list[str], measure: str) -> None:
    scale = 100.0 if measure in _PER_CENT else 1.0
    spans = {name: scale * rows.loc[name, ["mean", "low", "high"]].to_numpy(np.float64) for name in rows.index}
    spans = {name: span for name, span in spans.items() if np.isfinite(span).all()}
    for place, name in enumerate(names):
        if name not in spans:
            continue
        mean, low, high = spans[name]
        colour = "#7F7F7F" if name in BASELINES else PALETTE[0]
        ax.plot([low, high], [place, place], color=colour, linewidth=2)
        ax.plot([mean], [place], marker="s" if name in BASELINES else "o", color=colour, markersize=5)
    looked_at_nothing = [spans[name][0] for name in BASELINES if name in spans]
    if looked_at_nothing:
        best = min(looked_at_nothing) if measure == "deletion" else max(looked_at_nothing)
        ax.axvline(best, color="#4D4D4D", linestyle=":", linewidth=1)
    ax.set_xlabel(_TITLES[measure][0], fontsize=8.5)
    ax.locator_params(axis="x", nbins=4)
    ax.tick_params(axis="x", labelsize=8)


def _words(table: pd.DataFrame, measures: list[str], names: list[str]) -> str:
    told = []
    for measure in measures:
        rows = table[table["measure"] == measure].set_index("method")["mean"].dropna()
        each = ", ".join(f"{name} {rows[name]:.2f}" for name in names if name in rows.index)
        told.append(f"{_TITLES[measure][1]}: {each}")
    return f"Measures of {len(names)} maps with intervals. {'; '.join(told)}."


@styled
def deletion_curves(curves: pd.DataFrame) -> Chart:
    """Draw deletion and insertion curves, a line for each method: mean cosine against the share of changed pixels.

    Args:
        curves: method, kind ("deletion" or "insertion"), share (0 to 1), similarity.

    Raises:
        UserError: a missing column or no rows.
    """
    missing = sorted({"method", "kind", "share", "similarity"} - set(curves.columns))
    if missing or curves.empty:
        raise UserError(f"The curves have no {f'column {missing[0]!r}' if missing else 'rows'}.")
    kinds = [kind for kind in ("deletion", "insertion") if (curves["kind"] == kind).any()]
    names = list(dict.fromkeys(curves["method"]))
    figure = new_figure(8.2, 3.4)
    axes = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for ax, kind in zip(axes, kinds):
        for place, name in enumerate(names):
            rows = curves[(curves["kind"] == kind) & (curves["method"] == name)].sort_values("share")
            grey = name in BASELINES
            ax.plot(
                100 * rows["share"], rows["similarity"], color="#7F7F7F" if grey else PALETTE[place % len(PALETTE)],
                linestyle=_LINES[(BASELINES.index(name) if grey else place // len(PALETTE)) % len(_LINES)],
                marker="" if grey else _MARKERS[place % len(_MARKERS)], markersize=4, linewidth=1.4,
                label=plain(name.replace("_", " "), 24),
            )  # fmt: skip
        first = "removed" if kind == "deletion" else "put back"
        ax.set(xlabel=f"pixels {first}, highest first (%)", title=kind)
    axes[0].set_ylabel("cosine to the reference")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    last = curves[curves["kind"] == kinds[0]].groupby("method", sort=False)["similarity"].mean()
    told = ", ".join(f"{name} {value:.2f}" for name, value in last.items())
    set_alt(figure, f"{' and '.join(kinds).capitalize()} curves of {len(names)} maps; mean of {kinds[0]}: {told}.")
    return figure
