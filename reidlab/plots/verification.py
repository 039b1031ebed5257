"""Show how pairs are told apart: how far stated probabilities can be believed, and the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, axes_or_new, set_alt, styled
from reidlab.retrieval.calibrated import Calibration
from reidlab.retrieval.checks import check_real
from reidlab.retrieval.reliability import error_of
from reidlab.retrieval.roc import RATES, Verification

__all__ = ["reliability", "roc_curve"]

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


@styled
def roc_curve(
    results: Verification | Mapping[str, Verification], *, ax: Axes | None = None, lowest: float = 1e-5
) -> Axes:
    """Draw the share of pairs of one person that is accepted against that of different people, which is on a log axis.

    The signs stand at false-positive rates of 1e-4, 1e-3 and 1e-2, by the step rule; where a result has bootstrap
    intervals they stand as bars there, and that of the AUC in the legend.

    Args:
        results: one, or several by name, of `retrieval.verification`.
        ax: where.
        lowest: where the axis of false positives begins; not below the rate of a single pair.

    Raises:
        UserError: no results, or another beginning.
    """
    named = {"": results} if isinstance(results, Verification) else dict(results)
    if not named:
        raise UserError("There is no result to draw: give what retrieval.verification returns.")
    check_real("lowest", lowest, 0, 1, open_ends=True)
    begin = max(lowest, min(0.5, min(1 / found.n_different for found in named.values())))
    ax = axes_or_new(ax, 5.6, 4.2)
    alt = []
    for at, (name, found) in enumerate(named.items()):
        fpr = np.unique(
            np.append(np.geomspace(begin, 1, 600), found.different[found.different > 0] / found.n_different)
        )
        fpr = fpr[fpr >= begin] if len(fpr) < 3000 else np.geomspace(begin, 1, 1500)
        tpr = 100 * np.array([found.tpr_at(min(rate, 1.0)) for rate in fpr])
        label = f"{plain(name)}: " if name else ""
        low, high = found.interval()
        span = f" ({low:.4f} to {high:.4f})" if low <= high else ""
        label += f"AUC {found.auc:.4f}{span}, equal error rate {100 * found.eer:.1f} %"
        style: dict[str, Any] = {"color": PALETTE[at % len(PALETTE)], "linestyle": _LINES[at % len(_LINES)]}
        ax.plot(fpr, tpr, drawstyle="steps-post", label=label, **style)
        marks = [rate for rate in RATES if rate >= begin]
        ax.plot(
            marks, [100 * found.tpr_at(rate) for rate in marks], linestyle="", color=style["color"],
            marker=_MARKERS[at % len(_MARKERS)], markersize=6,
        )  # fmt: skip
        for rate in marks if found.intervals else ():
            ends = [100 * end for end in found.interval(rate)]
            ax.plot([rate, rate], ends, color=style["color"], linewidth=5, alpha=0.3, solid_capstyle="butt")
        rates = ", ".join(f"{100 * found.tpr_at(rate):.1f} %{_to(found, rate)} at {rate:g}" for rate in marks)
        of_auc = f"AUC {found.auc:.4f}{span}"
        alt.append(f"{name + ': ' if name else ''}{of_auc}{', true positives ' + rates if rates else ''}")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="different people accepted (share of pairs)", ylabel="pairs of one person accepted (%)")
    ax.set(xlim=(begin, 1), ylim=(0, 101))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))  # above: a curve may run anywhere
    set_alt(ax, f"ROC curve from a false-positive rate of {begin:.1g} up; {'; '.join(alt)}.")
    return ax


def _to(found: Verification, rate: float) -> str:
    """Write the interval of a true-positive rate, where there is one."""
    low, high = found.interval(rate)
    return f" ({100 * low:.1f} to {100 * high:.1f} %)" if low <= high else ""
