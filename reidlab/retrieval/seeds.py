"""Results of one recipe trained with several seeds: how much do they differ, and how much would other people?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float64, Int64

from reidlab.errors import UserError, shown
from reidlab.retrieval.alike import alike, html_table, measures, remarks
from reidlab.retrieval.checks import check_seed, check_whole
from reidlab.retrieval.confidence import MOST_DRAWS, share_intervals
from reidlab.retrieval.outcome import RetrievalResult

__all__ = ["SeedSummary", "half_width", "mean_interval", "over_seeds"]


@dataclass(frozen=True, eq=False)
class SeedSummary:
    """Results of several training seeds together.

    Attributes:
        frame: a row per measure: measure, mean, std (over seeds, n - 1 in the denominator; NaN for one seed), seeds_low
            and seeds_high (95 % interval of the mean over seeds, Student's t), identities_low and identities_high (95 %
            interval of the mean over draws of identities).
        n_seeds: results.
        n_query: queries with a match.
        n_identities: of them.
        draws: of identities.
    """

    frame: pd.DataFrame
    n_seeds: int
    n_query: int
    n_identities: int
    draws: int

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a frame of its own."""
        return self.frame.copy()

    def sentence(self) -> str:
        """Return a sentence on what was averaged."""
        few = " One seed has no spread: train at least three." if self.n_seeds == 1 else ""
        return (
            f"{self.n_seeds} seed{'s' if self.n_seeds > 1 else ''}, {self.n_query:,} queries of {self.n_identities:,} "
            "identities. The interval over seeds is for another training on the same data, that over identities for "
            f"other people.{few}{''.join(f' {note}' for note in remarks(self.n_identities))}"
        )

    def __repr__(self) -> str:
        rows = self.frame.to_dict("records")
        spread = [_percent(row["std"]) or "unknown" for row in rows]
        numbers = ", ".join(f"{row['measure']} {row['mean']:.2%} ± {std}" for row, std in zip(rows, spread))
        return f"SeedSummary({numbers}; {self.sentence()})"

    def _repr_html_(self) -> str:
        head = ["measure", "mean", "standard deviation", "95 % over seeds", "95 % over identities"]
        rows = [
            [
                str(row["measure"]), _percent(row["mean"]), _percent(row["std"]),
                _span(row["seeds_low"], row["seeds_high"]), _span(row["identities_low"], row["identities_high"]),
            ]
            for row in self.frame.to_dict("records")
        ]  # fmt: skip
        return html_table(head, rows, self.sentence())


def over_seeds(
    results: Sequence[RetrievalResult] | Mapping[str, RetrievalResult], *, draws: int = 10_000, seed: int = 0
) -> SeedSummary:
    """Average the results of one recipe trained with several seeds.

    Args:
        results: a list, or a mapping from names; all of them over the same queries in the same order, under the same
            rule and form of AP.
        draws: of identities, for the interval over them.
        seed: of these draws.

    Raises:
        UserError: no results, or ones that cannot be compared.
    """
    draws, seed = check_whole("draws", draws, 1, MOST_DRAWS), check_seed(seed)
    if isinstance(results, str) or not isinstance(results, Sequence | Mapping) or not results:
        raise UserError(f"results must be a list of RetrievalResult, one per seed; got {shown(results)}.")
    given = list(results.values()) if isinstance(results, Mapping) else list(results)
    frames = alike({f"result {at}": result for at, result in enumerate(given)})
    each = [measures(frame, ranks=(1, 5, 10)) for frame in frames]
    groups = frames[0]["pid"].to_numpy()
    together = {name: np.mean([values[name] for values in each], axis=0) for name in each[0]}
    spans = share_intervals(together, groups, count=draws, seed=seed)
    rows = []
    for name, mean in together.items():
        scores = np.array([values[name].mean() for values in each])
        centre = float(mean.mean())
        spread, reach = mean_interval(scores)
        rows.append((name, centre, spread, centre - reach, centre + reach, *spans[name]))
    columns = ["measure", "mean", "std", "seeds_low", "seeds_high", "identities_low", "identities_high"]
    frame = pd.DataFrame(rows, columns=columns)
    return SeedSummary(frame, len(given), len(groups), frames[0]["pid"].nunique(), draws)


def mean_interval(scores: npt.ArrayLike) -> tuple[float, float]:
    """Return the standard deviation of scores (n - 1) and half the width of the 95 % interval of their mean.

    The interval is Student's t with n - 1 degrees of freedom. Both are NaN for a single score.

    Args:
        scores: one for each seed [seed].
    """
    values = np.asarray(scores, np.float64)
    if len(values) < 2:
        return float("nan"), float("nan")
    spread = values.std(ddof=1, keepdims=True)
    return float(spread[0]), float(half_width(spread, np.array([len(values)]))[0])


def half_width(spread: Float64[np.ndarray, " mean"], n: Int64[np.ndarray, " mean"]) -> Float64[np.ndarray, " mean"]:
    """Return half the width of the 95 % interval of means, by Student's t; NaN for a mean of one score.

    Args:
        spread: standard deviation of the scores of each mean (n - 1 in its denominator).
        n: how many scores each has.
    """
    from scipy import stats

    freedom = np.where(n > 1, n - 1, 1)
    return np.where(n > 1, spread * stats.t.ppf(0.975, freedom) / np.sqrt(np.maximum(n, 1)), np.nan)


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2%}"


def _span(low: float, high: float) -> str:
    return "" if np.isnan(low) else f"{low:.2%} to {high:.2%}"
