"""Show retrieval results: CMC curves and the distances of right and wrong pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, RIGHT, WRONG, axes_or_new, set_alt, styled
from reidlab.retrieval.outcome import RetrievalResult

__all__ = ["cmc_curve", "distance_histogram", "score_bars"]

_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P")


@styled
def cmc_curve(
    results: RetrievalResult | Mapping[str, RetrievalResult], *, ax: Axes | None = None, max_rank: int = 20
) -> Axes:
    """Draw the CMC curve of one result or of several by name, with ranks 1, 5 and 10 marked.

    Where a result has bootstrap intervals they stand as bars at those ranks.

    Raises:
        UserError: no results, or max_rank below 1.
    """
    named = {"": results} if isinstance(results, RetrievalResult) else dict(results)
    if not named or max_rank < 1:
        raise UserError(f"At least one result and max_rank of at least 1 are needed; got {len(named)} and {max_rank}.")
    ax = axes_or_new(ax)
    alt = []
    for at, (name, result) in enumerate(named.items()):
        cmc = 100 * result.cmc[:max_rank]
        colour = PALETTE[at % len(PALETTE)]
        label = f"{plain(name)}: " if name else ""
        label += f"R1 {100 * result.rank(1):.1f} %, mAP {100 * result.mean_ap:.1f} %"
        marks = [k - 1 for k in (1, 5, 10) if k <= len(cmc)]
        ax.plot(
            np.arange(1, len(cmc) + 1), cmc, color=colour, linestyle=_LINES[at % len(_LINES)], label=label,
            marker=_MARKERS[at % len(_MARKERS)], markevery=marks, markersize=6,
        )  # fmt: skip
        for k in (1, 5, 10):
            if f"rank{k}" in result.intervals and k <= len(cmc):
                low, high = (100 * share for share in result.intervals[f"rank{k}"])
                ax.plot([k, k], [low, high], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
        alt.append(
            f"{name + ' ' if name else ''}rank-1 {100 * result.rank(1):.1f} %, rank-10 {100 * result.rank(10):.1f} %"
        )
    ax.set(xlabel="rank k (position in the list)", ylabel="queries with a match within k (%)")
    ax.set_ylim(top=101)
    ticks = [k for k in (1, 5, 10, 15, 20, 30, 40, 50) if k <= max_rank]
    ax.set_xticks(ticks) if max_rank <= 50 else ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.legend(loc="lower right")
    set_alt(ax, f"CMC curves to rank {max_rank}: " + "; ".join(alt) + ".")
    return ax


@styled
def score_bars(result: RetrievalResult, *, ax: Axes | None = None) -> Axes:
    """Draw the scores of a result as bars, with their 95 % intervals where it has some."""
    frame = result.to_frame()
    ax = axes_or_new(ax)
    values = 100 * frame["value"].to_numpy()
    places = np.arange(len(frame))
    ax.bar(places, values, color=PALETTE[0], width=0.6)
    known = frame["low"].notna().to_numpy()
    if known.any():
        ends = 100 * frame.loc[known, ["low", "high"]].to_numpy().T
        spread = np.abs(ends - values[known])
        ax.errorbar(places[known], values[known], spread, fmt="none", ecolor="#1A1A1A", capsize=5, linewidth=1.5)
    tops = np.where(known, 100 * frame["high"].fillna(0), values)
    for place, value, top in zip(places.tolist(), values, tops):
        ax.text(place, top + 1.5, f"{value:.1f}", ha="center")
    ax.set_xticks(places, frame["measure"].tolist())
    ax.set(xlabel="measure", ylabel="score (%)", ylim=(0, 108))
    ax.grid(False, axis="x")
    told = ", ".join(f"{name} {value:.1f} %" for name, value in zip(frame["measure"], values))
    set_alt(ax, f"Scores as bars: {told}.")
    return ax


@styled
def distance_histogram(
    pairs: pd.DataFrame, *, ax: Axes | None = None, threshold: float | None = None, unit: str = "1 - cosine"
) -> Axes:
    """Draw the distances of pairs of the same and of different identities, and how far they overlap.

    Args:
        pairs: columns same (bool) and distance, as `retrieval.sample_pairs` gives them.
        ax: where.
        threshold: a distance to mark, for instance one below which a pair is called the same.
        unit: what the distance is, for the axis label.

    Raises:
        UserError: pairs of one kind only.
    """
    same = pairs.loc[pairs["same"], "distance"].to_numpy(dtype=float)
    other = pairs.loc[~pairs["same"], "distance"].to_numpy(dtype=float)
    if not len(same) or not len(other):
        raise UserError(
            f"Pairs of both kinds are needed; got {len(same)} of the same identity, {len(other)} of different ones."
        )
    low, high = min(same.min(), other.min()), max(same.max(), other.max())
    high = high if high > low else low + 1e-6
    edges = np.linspace(low, high, 61)
    shares = [np.histogram(values, edges)[0] / len(values) * 100 for values in (same, other)]
    overlap = float(np.minimum(*shares).sum())
    ax = axes_or_new(ax)
    for values, share, mark, name in (
        (same, shares[0], RIGHT, "same identity"),
        (other, shares[1], WRONG, "different identities"),
    ):
        ax.stairs(share, edges, color=mark.colour, fill=True, alpha=0.2)
        label = f"{name} ({len(values):,} pairs)"
        ax.stairs(share, edges, color=mark.colour, linestyle=mark.line, linewidth=1.6, label=label)
    ax.stairs(
        np.minimum(*shares),
        edges,
        fill=False,
        hatch="////",
        edgecolor="#4D4D4D",
        linewidth=0,
        label=f"overlap {overlap:.1f} %",
    )
    if threshold is not None:
        ax.axvline(threshold, color="black", linewidth=1.2, linestyle="-.", label=f"threshold {threshold:.3f}")
    ax.set(
        xlabel=f"distance ({plain(unit)})", ylabel="pairs of that kind (%)", ylim=(0, 1.05 * max(map(np.max, shares)))
    )
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)  # above: the threshold may stand anywhere
    text = (
        f"Histograms of distance: same identity, median {np.median(same):.3f}; different, median {np.median(other):.3f}"
    )
    set_alt(ax, f"{text}; they overlap by {overlap:.1f} %.")
    return ax
