"""Show how pairs are told apart: how far stated probabilities can be believed, and the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, axes_or_new, set_alt, styled
from reidlab.retrieval.calibrated import Calibration
from reidlab.retrieval.reliability import error_of

__all__ = ["reliability"]

_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P")


@styled
def reliability(
    calibrations: Calibration | pd.DataFrame | Mapping[str, Calibration | pd.DataFrame], *, ax: Axes | None = None
) -> Axes:
    """Draw the share of pairs of one person against the probability that was stated for them.

    On the diagonal both agree; above it the probabilities are too low, below it too high. Larger signs stand for more
    pairs.

    Args:
        calibrations: one, or several by name: calibrations, or tables of `retrieval.reliability_table`.
        ax: where.

    Raises:
        UserError: none, or an empty table.
    """
    named = {"": calibrations} if isinstance(calibrations, Calibration | pd.DataFrame) else dict(calibrations)
    tables = {
        name: given.reliability_table() if isinstance(given, Calibration) else given for name, given in named.items()
    }
    if not tables or any(table.empty for table in tables.values()):
        raise UserError("There is no reliability table with a row to draw: give a Calibration, or reliability_table().")
    ax = axes_or_new(ax, 4.8, 4.4)
    ax.plot([0, 100], [0, 100], color="#7F7F7F", linewidth=1, linestyle="--", label="as stated")
    alt = []
    for at, (name, table) in enumerate(tables.items()):
        stated, true = 100 * table["probability"], 100 * table["share"]
        label = f"{plain(name)}: " if name else ""
        label += f"calibration error {100 * error_of(table):.1f} %"
        style: dict[str, Any] = {"color": PALETTE[at % len(PALETTE)], "linestyle": _LINES[at % len(_LINES)]}
        ax.plot(stated, true, label=label, marker=_MARKERS[at % len(_MARKERS)], markersize=4, **style)
        area = 200 * np.sqrt(table["weight"] / table["weight"].max())
        ax.scatter(stated, true, s=area, color=style["color"], alpha=0.25, linewidths=0)
        alt.append(f"{name + ': ' if name else ''}error {100 * error_of(table):.1f} %, {len(table)} bins")
    ax.set(xlabel="stated probability of one person (%)", ylabel="pairs of one person (%)")
    ax.set(xlim=(-2, 102), ylim=(-2, 102))
    ax.legend(loc="upper left")
    set_alt(ax, f"Reliability of stated probabilities against the diagonal; {'; '.join(alt)}.")
    return ax
