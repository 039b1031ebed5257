"""Return confidence intervals of retrieval measures by resampling the query identities.

Queries of one person are not independent (the same coat makes all of them easy), so whole identities are drawn
with replacement, not queries; an interval over queries would be too narrow.

Where every query scores 0, or every query 1, all draws are alike and resampling would give an interval without width.
There the far end is the exact one of Clopper and Pearson (Biometrika 26, 1934), over identities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from reidlab.errors import UserError, shown
from reidlab.ids import codes
from reidlab.retrieval.checks import check_real, check_seed, check_whole

__all__ = [
    "FEW_IDENTITIES",
    "MOST_DRAWS",
    "bootstrap_intervals",
    "drawn_means",
    "drawn_times",
    "few_identities",
    "percentile_interval",
    "share_intervals",
]

FEW_IDENTITIES = 30  # below, an interval by resampling is known to be too narrow

MOST_DRAWS = 1_000_000


def bootstrap_intervals(
    values: Mapping[str, npt.ArrayLike],
    groups: npt.ArrayLike,
    *,
    count: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of the mean of each list of values, drawing whole groups.

    Args:
        values: name -> one value per query (an AP, or 1.0 where the first match is within rank 5).
        groups: the identity of each query.
        count: number of draws; 1,000 is enough for two digits.
        seed: of the draws; equal seeds give equal intervals, to rounding (the means are products of matrices).
        level: the share of draws inside the interval, between 0 and 1.

    Raises:
        UserError: no draws, a level outside (0, 1), lengths that differ, no values, or some that are no numbers.
    """
    level = check_real("level", level, 0, 1, open_ends=True)
    means = drawn_means(values, groups, count=count, seed=seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(values, low, high)}


def drawn_means(
    values: Mapping[str, npt.ArrayLike], groups: npt.ArrayLike, *, count: int = 1000, seed: int = 0
) -> Float64[np.ndarray, "draw measure"]:
    """Return the mean of each list of values in every draw of whole groups: [draw, measure], in the order of `values`.

    A draw takes the same groups for every list, so that differences and ratios of means keep what the lists share.

    Args:
        values: name -> one value per query.
        groups: the identity of each query.
        count: number of draws.
        seed: of the draws.

    Raises:
        UserError: no draws, lengths that differ, no values, or some that are no numbers.
    """
    count, seed = check_whole("count", count, 1, MOST_DRAWS), check_seed(seed)
    group = codes(groups, name="groups")[0]
    columns = [_finite(name, value, len(group)) for name, value in values.items()]
    if not columns or not len(group):
        raise UserError(f"{len(group)} groups and {len(columns)} lists of values; at least one of each needed.")
    n_groups = int(group.max()) + 1
    sums = np.column_stack([np.bincount(group, column, minlength=n_groups) for column in columns])
    sizes = np.bincount(group, minlength=n_groups).astype(np.float64)
    return np.concatenate([(times @ sums) / (times @ sizes)[:, None] for times in drawn_times(n_groups, count, seed)])


def share_intervals(
    values: Mapping[str, npt.ArrayLike],
    groups: npt.ArrayLike,
    *,
    count: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Return the intervals of measures between 0 and 1: by `bootstrap_intervals`, but with a width at 0 and at 1.

    Of n identities that all score 1 the low end is ((1 - level) / 2) ** (1 / n): 0.40 of 4, 0.88 of 30, 0.995 of 750.
    It holds for AP and INP too, since the share of identities without a fault is not above their mean.

    Args:
        values: name -> one value per query, from 0 to 1.
        groups: the identity of each query.
        count: number of draws.
        seed: of the draws.
        level: the share of samples whose interval holds the truth.

    Raises:
        UserError: as `bootstrap_intervals`.
    """
    found = bootstrap_intervals(values, groups, count=count, seed=seed, level=level)
    n_groups = int(codes(groups, name="groups")[0].max()) + 1
    for name, given in values.items():
        column = np.asarray(given)
        if (column == 1).all() or (column == 0).all():
            found[name] = percentile_interval(column, n_groups, level=level)
    return found


def percentile_interval(drawn: npt.ArrayLike, n_groups: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of a share, from its value in each draw; where all are 0 or 1, with a width.

    Args:
        drawn: a share in each draw of groups.
        n_groups: the number of groups, on which the width rests where all draws give 0, or all give 1.
        level: the share of samples whose interval holds the truth.
    """
    values = np.asarray(drawn, np.float64)
    far = ((1 - level) / 2) ** (1 / n_groups)
    if (values == 1).all():
        return far, 1.0
    if (values == 0).all():
        return 0.0, 1 - far
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def drawn_times(n_groups: int, count: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Give how often each group is drawn, in draws of as many groups as there are: parts of [draw, group]."""
    generator = np.random.default_rng(seed)
    for begin in range(0, count, 256):  # 256 draws at a time bound the memory
        yield generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=min(256, count - begin))


def few_identities(count: int) -> str:
    """Return what to say of a score over `count` query identities; nothing from `FEW_IDENTITIES` on."""
    if count >= FEW_IDENTITIES:
        return ""
    who = "one identity is" if count == 1 else f"{count} identities are"
    return (
        f"Only {who} queried: below {FEW_IDENTITIES} a score tells little of other people, and its interval is too "
        "narrow. Do not compare models by it."
    )


def _finite(name: str, given: npt.ArrayLike, length: int) -> npt.NDArray[np.float64]:
    """Return a list of values as floats, one a group."""
    try:
        values = np.asarray(given)
        values = values.astype(np.float64) if values.dtype.kind in "fiub" else np.zeros(0)
    except (TypeError, ValueError, RuntimeError, ArithmeticError):
        values = np.zeros(0)
    if values.shape != (length,) or not np.isfinite(values).all():
        raise UserError(f"{name} must be {length:,} finite numbers, one for each group; got {shown(given)}.")
    return values
