"""Give confidence intervals of retrieval measures by resampling the query identities.

Queries of one person are not independent (the same coat makes all of them easy), so whole identities are drawn
with replacement, not queries; an interval over queries would be too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError

__all__ = ["bootstrap_intervals"]


def bootstrap_intervals(
    values: Mapping[str, npt.ArrayLike],
    groups: npt.ArrayLike,
    *,
    count: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Give the percentile interval of the mean of each list of values, drawing whole groups.

    Args:
        values: name -> one value a query (an AP, or 1.0 where the first match is within rank 5).
        groups: the identity of each query.
        count: number of draws; 1,000 is enough for two digits.
        seed: of the draws; equal seeds give equal intervals.
        level: the share of draws inside the interval, between 0 and 1.

    Raises:
        UserError: no draws, a level outside (0, 1), lengths that differ, or no values.
    """
    if count < 1 or not 0 < level < 1:
        raise UserError(f"bootstrap={count} and level={level}: at least 1 draw and a level between 0 and 1 needed.")
    table = np.column_stack([np.asarray(value, dtype=np.float64) for value in values.values()])
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(codes) != len(table) or not len(codes):
        raise UserError(f"{len(codes)} groups for {len(table)} values; one group a value, and at least one, needed.")
    n_groups = int(codes.max()) + 1
    sums = np.column_stack([np.bincount(codes, column, minlength=n_groups) for column in table.T])
    sizes = np.bincount(codes, minlength=n_groups).astype(np.float64)
    means = _draw(sums, sizes, count, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(values, low, high)}


def _draw(sums: npt.NDArray[Any], sizes: npt.NDArray[Any], count: int, generator: np.random.Generator) -> Any:
    """Give the mean of every measure for each draw of as many groups as there are: [draw, measure]."""
    n_groups = len(sizes)
    parts = []
    for begin in range(0, count, 256):  # 256 draws at a time bound the memory
        draws = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=min(256, count - begin))
        parts.append((draws @ sums) / (draws @ sizes)[:, None])
    return np.concatenate(parts)
