"""Compare two results over the same queries: is the difference more than chance?

Queries of one person are not independent, so that whole identities are drawn and whole identities change sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.ids import codes
from reidlab.retrieval.alike import alike, html_table, measures, remarks
from reidlab.retrieval.checks import check_seed, check_whole
from reidlab.retrieval.confidence import MOST_DRAWS, bootstrap_intervals
from reidlab.retrieval.outcome import RetrievalResult

__all__ = ["Comparison", "compare_results"]

SIGNIFICANT = 0.05
DEFAULT_NAMES = ("a", "b")
CHUNK = 1000  # draws of signs that are held at a time

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """How much better the second of two results is than the first, with what chance alone could do.

    Attributes:
        frame: a row per measure: measure, the two values (columns named as the results), difference (second less
            first), low and high (95 % interval), p (of the permutation test), noise (whether chance may explain it).
        names: of the two results.
        n_query: queries with a match.
        n_identities: of them.
        draws, seed: of interval and test.
        notes: what a reader has to know.
    """

    frame: pd.DataFrame
    names: tuple[str, str]
    n_query: int
    n_identities: int
    draws: int
    seed: int
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a frame of its own."""
        return self.frame.copy()

    def sentence(self) -> str:
        """Return a sentence that says which differences are more than chance over these people."""
        parts = [_told(row, self.names) for row in self.frame.to_dict("records")]
        notes = "".join(f" {note}" for note in self.notes)
        return (
            f"{'; '.join(parts)}. {self.n_query:,} queries of {self.n_identities:,} identities, {self.draws:,} draws. "
            f"Intervals are about other people like these, not about other training seeds.{notes}"
        )

    def __repr__(self) -> str:
        return f"Comparison({self.sentence()})"

    def _repr_html_(self) -> str:
        one, two = self.names
        head = ["measure", one, two, "difference (points)", "95 % interval", "p", ""]
        rows = [
            [
                str(row["measure"]), f"{row[one]:.2%}", f"{row[two]:.2%}", f"{100 * row['difference']:+.2f}",
                f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}", f"{row['p']:.2g}",
                "noise" if row["noise"] else "",
            ]
            for row in self.frame.to_dict("records")
        ]  # fmt: skip
        return html_table(head, rows, self.sentence())


def compare_results(
    a: RetrievalResult,
    b: RetrievalResult,
    *,
    draws: int = 10_000,
    seed: int = 0,
    names: tuple[str, str] = DEFAULT_NAMES,
) -> Comparison:
    """Compare two results over the same queries: by how much is `b` better than `a`, and is it more than chance?

    The interval is that of the difference, query by query, over draws of identities (paired bootstrap): much narrower
    than the two results' own intervals, which may overlap although the difference is clear. The p value is that of a
    permutation test: were both runs alike, they could change places for any identity (all changes of sign are tried
    where there are no more than `draws`). A difference is called noise where p is 0.05 or more, or the interval holds
    0. Of twenty such comparisons one is wrong: correct for it where you make many.

    Args:
        a: one result.
        b: another one, of the same queries in the same order, under the same rule and form of AP.
        draws: of interval and test.
        seed: of the draws.
        names: of the two, for the table.

    Raises:
        UserError: other queries, another rule or form of AP, or another gallery.
    """
    draws, seed = check_whole("draws", draws, 1, MOST_DRAWS), check_seed(seed)
    names = _names(names)
    frames = alike({names[0]: a, names[1]: b})
    values, other = (measures(frame) for frame in frames)
    groups = frames[0]["pid"].to_numpy()
    change = {name: other[name] - values[name] for name in values}
    spans = bootstrap_intervals(change, groups, count=draws, seed=seed)
    chances = _permuted(np.column_stack(list(change.values())), codes(groups, name="pid")[0], draws, seed)
    rows = []
    for at, (name, span) in enumerate(spans.items()):
        noise = chances[at] >= SIGNIFICANT or span[0] <= 0 <= span[1]
        both = values[name].mean(), other[name].mean()
        rows.append((name, *both, both[1] - both[0], *span, chances[at], noise))
    columns = ["measure", *names, "difference", "low", "high", "p", "noise"]
    n_identities = frames[0]["pid"].nunique()
    return Comparison(
        frame=pd.DataFrame(rows, columns=columns),
        names=names,
        n_query=len(groups),
        n_identities=n_identities,
        draws=draws,
        seed=seed,
        notes=remarks(n_identities),
    )


def _permuted(change: Floats, group: npt.NDArray[np.int64], draws: int, seed: int) -> Floats:
    """Return the p value of each measure [measure], from what it changes for each query [query, measure]."""
    n_groups = int(group.max()) + 1
    sums = np.column_stack([np.bincount(group, column, minlength=n_groups) for column in change.T])
    least = np.abs(sums.sum(axis=0)) - 1e-9  # sums in another order differ in their last digits
    every = n_groups < 31 and 2**n_groups <= draws
    total = 2**n_groups if every else draws
    rng, reached = np.random.default_rng(seed), np.zeros(change.shape[1])
    for begin in range(0, total, CHUNK):
        count = min(CHUNK, total - begin)
        if every:
            signs = (np.arange(begin, begin + count)[:, None] >> np.arange(n_groups)) & 1
        else:
            signs = rng.integers(0, 2, (count, n_groups))
        reached += (np.abs((2 * signs - 1) @ sums) >= least).sum(axis=0)
    return reached / total if every else (reached + 1) / (total + 1)


def _told(row: Mapping[Any, Any], names: tuple[str, str]) -> str:
    points, low, high = (100 * row[name] for name in ("difference", "low", "high"))
    way = f"{abs(points):.2f} points {'above' if points > 0 else 'below'}" if round(points, 2) else "that of"
    where = f"{row['measure']} of {names[1]} is {way} {names[0]}"
    chance = "noise" if row["noise"] else "more than chance"
    return f"{where} ({low:+.2f} to {high:+.2f}, p {row['p']:.2g}): {chance}"


def _names(names: Any) -> tuple[str, str]:
    given = tuple(names) if isinstance(names, tuple | list) else ()
    taken = {"measure", "difference", "low", "high", "p", "noise"}
    if len(given) != 2 or not all(isinstance(name, str) and name for name in given) or len({*given} - taken) != 2:
        raise UserError(f"names={shown(names)} must be two different names, none of {', '.join(sorted(taken))}.")
    return given[0], given[1]
