"""Which expert sees whom: gates of a mixture by camera and identity, and how much they tell of either.

A gate says for each image how much each expert counts; its rows sum to 1. Read as the odds of choosing one expert, the
choice tells something about the image: at most the logarithm of the number of experts, in bits. Part of that may be
which camera took it, part who is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.ids import codes

__all__ = ["Told", "gate_information", "gates_by"]

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-3  # float32 gates sum to 1 within this
_MOST_SHUFFLES = 100_000


@dataclass(frozen=True)
class Told:
    """What the choice of an expert tells, in bits.

    Attributes:
        image: of the image as a whole: 0 where the gate is the same for all, at most `most`.
        label: of its label, such as its camera; never more than of the image.
        chance: of labels that are shuffled, on average: with few images of a label it is not 0.
        p: share of shuffles that tell at least as much (permutation test; the given order is one of them).
        most: logarithm of the number of experts.
    """

    image: float
    label: float
    chance: float
    p: float
    most: float


def gates_by(gates: npt.ArrayLike, labels: npt.ArrayLike, names: list[str]) -> pd.DataFrame:
    """Return the mean gate of each expert for each label.

    Args:
        gates: [image, expert], from 0 to 1, rows sum to 1.
        labels: [image], such as cameras.
        names: of the experts, for the columns.

    Returns:
        A row for each label, sorted by it, with a column for each expert.

    Raises:
        UserError: gates that are none, or other numbers of labels and names.
    """
    table = _checked(gates, labels)
    if len(names) != table.shape[1] or len(set(names)) < len(names):
        raise UserError(f"names={shown(names)} must be {table.shape[1]} different ones, one for each expert.")
    return pd.DataFrame(table, columns=names).groupby(np.asarray(labels)).mean()


def gate_information(
    gates: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    within: npt.ArrayLike | None = None,
    shuffles: int = 200,
    seed: int = 0,
) -> Told:
    """Return what the choice of an expert tells of labels: their mutual information, in bits, beside chance.

    Args:
        gates: [image, expert], from 0 to 1, rows sum to 1.
        labels: [image], such as cameras.
        within: [image]; labels are shuffled among images that have this in common. With identities here, cameras are
            tested beyond the people who pass them; None shuffles all.
        shuffles: of the permutation test.
        seed: of the shuffles.

    Raises:
        UserError: gates that are none, other numbers of labels, or shuffles out of range.
    """
    table = _checked(gates, labels)
    if not 1 <= shuffles <= _MOST_SHUFFLES:
        raise UserError(f"shuffles={shuffles} must be 1 to {_MOST_SHUFFLES:,}.")
    numbers = codes(np.asarray(labels), name="labels")[0]
    groups = np.zeros(len(table), dtype=np.int64)
    if within is not None:
        if len(np.asarray(within)) != len(table):
            raise UserError(f"within has {len(np.asarray(within)):,} values for {len(table):,} images.")
        groups = codes(np.asarray(within), name="within")[0]
    whole = _entropy(table.mean(axis=0))
    of_label = whole - _entropy_within(table, numbers)
    rng, home = np.random.default_rng(seed), np.argsort(groups, kind="stable")
    shuffled = np.empty(shuffles)
    moved = np.empty_like(numbers)
    for at in range(shuffles):
        moved[home] = numbers[np.lexsort((rng.random(len(groups)), groups))]
        shuffled[at] = whole - _entropy_within(table, moved)
    reached = int((shuffled >= of_label - 1e-12).sum())  # sums in another order differ in their last digits
    return Told(
        image=max(0.0, whole - float(_entropy(table).mean())),
        label=max(0.0, of_label),
        chance=max(0.0, float(shuffled.mean())),
        p=(reached + 1) / (shuffles + 1),
        most=float(np.log2(table.shape[1])),
    )


def _entropy(shares: Floats) -> Any:
    """Return the entropy of the last axis, bits."""
    safe = np.where(shares > 0, shares, 1.0)
    return -(shares * np.log2(safe)).sum(axis=-1)


def _entropy_within(table: Floats, numbers: npt.NDArray[np.int64]) -> float:
    """Return the entropy of the mean gates of each label, weighted by its images, bits."""
    images = np.bincount(numbers)
    sums = np.column_stack([np.bincount(numbers, column) for column in table.T])
    return float((images * _entropy(sums / images[:, None])).sum() / len(table))


def _checked(gates: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
    table = np.asarray(gates, dtype=np.float64)
    if table.ndim != 2 or not table.shape[0] or table.shape[1] < 2:
        raise UserError(f"gates must be [image, expert] of two experts or more; got {list(table.shape)}.")
    if not (table >= 0).all() or np.abs(table.sum(axis=1) - 1).max() > _ROUNDING:
        raise UserError("gates must be 0 or more, and those of an image sum to 1.")
    if len(np.asarray(labels)) != len(table):
        raise UserError(f"{len(np.asarray(labels)):,} labels for the gates of {len(table):,} images.")
    return table / table.sum(axis=1, keepdims=True)
