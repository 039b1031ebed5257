"""Two results query by query: who wins which, the difference as a figure, the items of both lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float64

from reidlab.errors import UserError
from reidlab.explorers.grid import item
from reidlab.explorers.rankings import Rankings
from reidlab.explorers.retrieval_views import Captions
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, Chart, ChartAxes, new_figure, set_alt, styled
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings

__all__ = ["Duel", "check_belongs", "difference_figure", "listed"]

EVEN = 1e-9  # difference of AP below which nobody wins: sums in another order differ by less


@dataclass(frozen=True)
class Duel:
    """What two results say of the same queries [query]; NaN and 0 where a query has no match.

    Attributes:
        first, second: average precision, shares.
        first_rank, second_rank: rank of the first right image, from 1.
    """

    first: Float64[np.ndarray, " query"]
    second: Float64[np.ndarray, " query"]
    first_rank: Float64[np.ndarray, " query"]
    second_rank: Float64[np.ndarray, " query"]

    @classmethod
    def of(cls, first: RetrievalResult, second: RetrievalResult) -> Duel:
        """Read the scores of two results over the same queries."""
        valid = first.per_query["valid"].to_numpy(bool)
        aps = [np.where(valid, each.per_query["ap"].to_numpy(np.float64), np.nan) for each in (first, second)]
        ranks = [each.per_query["first_rank"].to_numpy(np.float64) for each in (first, second)]
        return cls(*aps, *ranks)

    @property
    def difference(self) -> Float64[np.ndarray, " query"]:
        """Return the second AP less the first one."""
        return self.second - self.first

    def rows(self, show: str) -> npt.NDArray[np.int64]:
        """Return queries by what is asked for, those with the largest difference first.

        Args:
            show: "all", "first" (it wins), "second", "even", or "failed" (the nearest image is wrong in both).
        """
        gap = self.difference
        kept = {
            "all": np.isfinite(gap),
            "first": gap < -EVEN,
            "second": gap > EVEN,
            "even": np.abs(gap) <= EVEN,
            "failed": np.isfinite(gap) & (self.first_rank != 1) & (self.second_rank != 1),
        }[show]
        rows = np.flatnonzero(kept)
        return rows[np.argsort(-np.abs(gap[rows]), kind="stable")]


def check_belongs(result: RetrievalResult, query: Embeddings, name: str) -> None:
    """Refuse embeddings that are not those of a result's queries.

    Raises:
        UserError: another number of queries, or other identities.
    """
    if len(query) != len(result.per_query):
        raise UserError(
            f"{name}: the result has {len(result.per_query):,} queries, the embeddings {len(query):,}. Give the "
            "embeddings that it was computed of."
        )
    if "pid" in result.per_query:
        mine, its = result.per_query["pid"].astype(str).to_numpy(), query.pids.astype(str)
        if (mine != its).any():
            at = int(np.flatnonzero(mine != its)[0])
            raise UserError(
                f"{name}: query {at} shows {mine[at]} in the result and {its[at]} in the embeddings. Give the "
                "embeddings that it was computed of."
            )


def listed(rankings: Rankings, tables: Mapping[str, pd.DataFrame], query: int, k: int) -> list[dict[str, str]]:
    """Return the items of a query and its `k` nearest gallery images; ignored ones are left out."""
    ranked = rankings.of_query(query)
    captions = Captions(tables, {})
    items = [item(f"q{query}", captions.short(f"q{query}"), "query", "query", captions.alt(f"q{query}"))]
    for position in ranked.positions(k, show_ignored=False).tolist():
        key = f"g{ranked.gallery[position]}"
        detail = f"rank {ranked.rank[position]} · {ranked.shown} {ranked.value[position]:.3f}"
        items.append(item(key, captions.short(key), detail, ranked.sign(position), captions.alt(key)))
    return items


@styled
def difference_figure(duel: Duel, names: tuple[str, str], query: int | None = None) -> Chart:
    """Draw the difference of AP of all queries, sorted; where the shown query stands is marked."""
    gap = duel.difference
    order = np.argsort(np.where(np.isnan(gap), np.inf, gap), kind="stable")[: int(np.isfinite(gap).sum())]
    points = 100 * gap[order]
    at = np.arange(1, len(points) + 1)
    figure = new_figure(4.6, 2.8)
    ax: Any = figure.add_subplot(axes_class=ChartAxes)
    sides = gap[order] < -EVEN, gap[order] > EVEN
    for winner, side, colour, hatch in ((0, sides[0], PALETTE[0], "//"), (1, sides[1], PALETTE[1], "")):
        label = f"{plain(names[winner], 24)} wins {side.sum():,}"
        ax.bar(at[side], points[side], width=1, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=label)
    ax.axhline(0, color="#4D4D4D", linewidth=0.8)
    if query is not None and query in order:
        place = int(np.flatnonzero(order == query)[0])
        ax.plot([at[place]], [points[place]], marker="D", color="black", markersize=5, linestyle="", label="shown")
    ax.set(xlabel="queries, by difference", ylabel="difference of AP (points)", xlim=(0, len(points) + 1))
    ax.margins(y=0.08)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)  # above: bars may fill the whole plot
    even = int((np.abs(gap) <= EVEN).sum())
    words = [f"{name} wins {side:,}" for name, side in zip(names, (int(side.sum()) for side in sides))]
    set_alt(figure, f"Difference of AP of {len(points):,} queries: {', '.join(words)}, {even:,} are even.")
    return figure
