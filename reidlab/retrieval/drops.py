"""How much of its score a model loses where images are worse: the mean relative drop, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_real, check_whole
from reidlab.retrieval.confidence import MOST_DRAWS, drawn_means

__all__ = ["Drop", "relative_drop"]


class Drop(NamedTuple):
    """A share of the clean score that is lost (1: all of it, below 0: gained), and its interval; NaN where unknown."""

    drop: float
    low: float
    high: float


def relative_drop(
    clean: npt.ArrayLike,
    corrupted: Sequence[npt.ArrayLike],
    groups: npt.ArrayLike,
    *,
    count: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Drop:
    """Return the mean over several conditions of 1 - score / clean score, with its bootstrap interval.

    As one minus the relative robustness of Hendrycks and Dietterich (ICLR 2019), with mAP in the place of accuracy.
    Whole identities are drawn, the same for all conditions: what makes a query hard in all of them cancels out.

    >>> round(relative_drop([0.8, 0.8], [[0.4, 0.4], [0.2, 0.2]], [1, 2]).drop, 3)
    0.625

    Args:
        clean: the AP of each query in the clean images.
        corrupted: for each condition, the AP of the same queries.
        groups: the identity of each query.
        count: number of draws; 0 leaves the interval out.
        seed: of the draws.
        level: the share of draws inside the interval, between 0 and 1.

    Returns:
        The drop; all NaN where the clean mean is 0. Draws of identities whose clean mean is 0 are left out.

    Raises:
        UserError: no condition, lengths that differ, values or groups that `bootstrap_intervals` refuses.
    """
    count = check_whole("count", count, 0, MOST_DRAWS)
    level = check_real("level", level, 0, 1, open_ends=True)
    if isinstance(corrupted, str) or not len(corrupted):
        raise UserError("A drop is from the clean images to at least one other condition; none is given.")
    lists = {"clean": clean, **{f"condition {i}": each for i, each in enumerate(corrupted, 1)}}
    draws = drawn_means(lists, groups, count=max(count, 1), seed=seed)  # checks all of them
    mean = np.array([np.asarray(each, dtype=np.float64).mean() for each in lists.values()])
    if mean[0] == 0:
        return Drop(np.nan, np.nan, np.nan)
    drop = float(1 - mean[1:].mean() / mean[0])
    draws = draws[draws[:, 0] > 0]
    if not count or not len(draws):
        return Drop(drop, np.nan, np.nan)
    low, high = np.quantile(1 - draws[:, 1:].mean(axis=1) / draws[:, 0], [(1 - level) / 2, (1 + level) / 2])
    return Drop(drop, float(low), float(high))
