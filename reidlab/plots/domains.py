"""Heat maps of models against test sets: how much of a score stays where the cameras are others."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import Chart, ChartAxes, new_figure, set_alt, styled

__all__ = ["domain_heatmaps"]

HOME = "trained here"
_SCORES = {"rank1": "rank-1", "mAP": "mAP"}
_COLOURS = "cividis"
_BRIGHT = 0.48  # share of the scale above which the text is black


@styled
def domain_heatmaps(scores: pd.DataFrame) -> Chart:
    """Draw rank-1 and mAP of every model (rows) on every test set (columns), with their 95 % intervals.

    Cells of a model that was trained on the data set have a thick frame and the words "trained here".

    Args:
        scores: a row for each model and test set: model, test_set, rank1, rank1_low, rank1_high, mAP, mAP_low, mAP_high
            (shares from 0 to 1; intervals may be NaN) and in_domain (bool), as `stages.cross_domain` gives them. Pairs
            that are missing stay empty.

    Raises:
        UserError: a missing column, no row, or a pair that stands there twice.
    """
    wanted = {"model", "test_set", "in_domain"} | {f"{name}{end}" for name in _SCORES for end in ("", "_low", "_high")}
    missing = sorted(wanted - set(scores.columns))
    if missing or scores.empty:
        raise UserError(f"There is nothing to draw: {f'no column {missing[0]!r}' if missing else 'no score'}.")
    if scores.duplicated(["model", "test_set"]).any():
        raise UserError("A model and test set stand in the scores twice; name models and test sets apart.")
    models, sets = list(scores["model"].unique()), list(scores["test_set"].unique())
    beside = len(sets) <= 4
    wide, tall = 1.2 * len(sets), 0.75 * len(models) + 0.9
    figure = new_figure(2 * wide + 3.2 if beside else wide + 3, tall if beside else 2 * tall)
    rows, columns = (1, 2) if beside else (2, 1)
    for place, (name, title) in enumerate(_SCORES.items(), 1):
        ax = figure.add_subplot(rows, columns, place, axes_class=ChartAxes)
        _panel(ax, scores, name, models, sets)
        ax.set_title(f"{title} (%)")
        if beside and place == 2:
            ax.set(ylabel="")
            ax.tick_params(labelleft=False)
    mapped = ScalarMappable(Normalize(0, 100), _COLOURS)
    figure.colorbar(mapped, ax=figure.axes, label="%", ticks=[0, 25, 50, 75, 100], fraction=0.03, pad=0.01)
    set_alt(figure, _words(scores))
    return figure


def _panel(ax: Axes, scores: pd.DataFrame, name: str, models: list[str], sets: list[str]) -> None:
    values = scores.pivot(index="model", columns="test_set", values=name).reindex(index=models, columns=sets)
    ax.imshow(100 * values.to_numpy(dtype=np.float64), cmap=_COLOURS, vmin=0, vmax=100, aspect="auto")
    ax.grid(visible=False)
    ax.set_xticks(range(len(sets)), [_lines(each) for each in sets], fontsize=9)
    ax.set_yticks(range(len(models)), [plain(each, 30) for each in models], fontsize=9)
    ax.tick_params(length=0)
    ax.set(xlabel="test set", ylabel="model")
    for _, row in scores.iterrows():
        x, y, score = sets.index(row["test_set"]), models.index(row["model"]), row[name]
        interval = f"\n{100 * row[f'{name}_low']:.0f} to {100 * row[f'{name}_high']:.0f}"
        interval = "" if np.isnan(row[f"{name}_low"]) else interval
        home = f"\n{HOME}" if row["in_domain"] else ""
        colour = "black" if score > _BRIGHT else "white"
        ax.text(
            x, y, f"{100 * score:.1f}{interval}{home}", ha="center", va="center", color=colour, fontsize=9,
            linespacing=1.25,
        )  # fmt: skip
        if home:
            ax.add_patch(
                Rectangle((x - 0.46, y - 0.45), 0.92, 0.9, fill=False, edgecolor=colour, linewidth=2.5, zorder=3)
            )


def _lines(name: str) -> str:
    """Return the name of a test set with what stands in brackets on a line of its own."""
    before, bracket, rest = name.partition(" (")
    return plain(before, 18) + (f"\n{plain(f'({rest}', 18)}" if bracket else "")


def _words(scores: pd.DataFrame) -> str:
    cells = [
        f"{row['model']} on {row['test_set']}: rank-1 {100 * row['rank1']:.1f}, mAP {100 * row['mAP']:.1f}"
        f"{f' ({HOME})' if row['in_domain'] else ''}"
        for _, row in scores.iterrows()
    ]
    return f"Rank-1 and mAP in per cent of models on test sets. {'; '.join(cells)}."
