"""Measure how far stated probabilities can be believed: the reliability table and its expected calibration error."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.retrieval.checks import as_array, as_numbers, check_real, check_whole

__all__ = ["expected_calibration_error", "reliability_table", "same_flags"]

MOST_BINS = 1000

Floats = npt.NDArray[np.float64]


def reliability_table(
    probability: npt.ArrayLike, same: npt.ArrayLike, *, bins: int = 10, prior: float | None = 0.5
) -> pd.DataFrame:
    """Compare stated probabilities with what came true, in bins of equal width.

    Args:
        probability: what was stated for each pair, from 0 to 1 [pair].
        same: whether the pair shows one identity [pair].
        bins: number of bins between 0 and 1.
        prior: share of pairs of the same identity that the probabilities assume. The pairs are weighted so that it
            holds; None takes them as they come.

    Returns:
        A frame with a row per bin that has pairs: low, high (its ends), pairs, weight (its share of all pairs),
        probability (mean of what was stated) and share (of pairs of the same identity).

    Raises:
        UserError: lengths that differ, no probabilities, or pairs of one kind only where there is a prior.
    """
    bins = check_whole("bins", bins, 1, MOST_BINS)
    stated, flags = as_numbers(probability, "fiub"), same_flags(same)
    if stated.shape != flags.shape or not ((stated >= 0) & (stated <= 1)).all():
        raise UserError(
            f"probability must be {len(flags):,} numbers from 0 to 1, one per pair; got {shown(probability)}."
        )
    weight = _weights(flags, prior)
    at = np.minimum((stated * bins).astype(np.int64), bins - 1)
    total, count = np.bincount(at, weight, minlength=bins), np.bincount(at, minlength=bins)
    rows = np.flatnonzero(count)
    mean = np.bincount(at, weight * stated, minlength=bins)[rows] / total[rows]
    share = np.bincount(at, weight * flags, minlength=bins)[rows] / total[rows]
    ends = {"low": rows / bins, "high": (rows + 1) / bins}
    return pd.DataFrame({**ends, "pairs": count[rows], "weight": total[rows], "probability": mean, "share": share})


def expected_calibration_error(
    probability: npt.ArrayLike, same: npt.ArrayLike, *, bins: int = 10, prior: float | None = 0.5
) -> float:
    """Return the mean distance between what was stated and what came true, from 0 (believable) to 1.

    It is the sum over the bins of `reliability_table` of weight x |probability - share| (Naeini, Cooper and Hauskrecht,
    AAAI 2015; Guo et al., ICML 2017). Arguments and errors are those of `reliability_table`.

    >>> expected_calibration_error([0.8] * 5, [True, True, True, True, False], prior=None)
    0.0
    """
    return error_of(reliability_table(probability, same, bins=bins, prior=prior))


def error_of(table: pd.DataFrame) -> float:
    """Return the expected calibration error of a reliability table."""
    gap = (table["probability"] - table["share"]).abs()
    return float((table["weight"] * gap).sum() / table["weight"].sum())


def same_flags(same: Any) -> npt.NDArray[np.bool_]:
    """Return which pairs show one identity [pair] as truth values; 0 and 1 are understood.

    Raises:
        UserError: something else, or none.
    """
    flags = as_array(same)
    if flags.ndim != 1 or not len(flags) or flags.dtype.kind not in "biuf" or not np.isin(flags, (0, 1)).all():
        raise UserError(f"same must be a list of true and false, one per pair; got {shown(same)}.")
    return flags.astype(bool)


def _weights(flags: npt.NDArray[np.bool_], prior: float | None) -> Floats:
    """Return a weight for each pair; all together 1, those of the same identity `prior`."""
    if prior is None:
        return np.full(len(flags), 1 / len(flags))
    prior = check_real("prior", prior, 0, 1, open_ends=True)
    n_same = int(flags.sum())
    if n_same in (0, len(flags)):
        kind = "the same identity" if n_same else "different identities"
        raise UserError(f"All {len(flags):,} pairs show {kind}; pairs of both kinds are needed, or prior=None.")
    return np.where(flags, prior / n_same, (1 - prior) / (len(flags) - n_same))
