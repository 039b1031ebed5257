"""What all samplers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from reidlab.errors import UserError

__all__ = ["Sampler", "TooFewIdentities", "filled_rows"]


class TooFewIdentities(UserError):
    """A sampler needs more identities per batch than there are; `usable` says how many there are."""

    def __init__(self, message: str, usable: int) -> None:
        super().__init__(message)
        self.usable = usable


def _rows_by_label(labels: Sequence[Any] | np.ndarray) -> list[np.ndarray]:
    """Group row numbers by label, groups in order of the sorted labels."""
    groups: dict[Any, Any] = dict(pd.Series(np.arange(len(labels))).groupby(np.asarray(labels)).indices)
    return [np.asarray(groups[key]) for key in sorted(groups)]


def filled_rows(group: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` rows so that every row of the group is used before one repeats."""
    return np.concatenate([rng.permutation(group) for _ in range(-(-count // len(group)))])[:count]


@dataclass(frozen=True)
class Sampler:
    """Return batches of rows.

    Attributes:
        labels: identity of every row.
        identities: P, different identities in a batch.
        images: K, rows of each.
        seed: any integer of 0 or more.
        groups: rows of every identity that is drawn from.
        unit: what a row is, in words.
    """

    unit: ClassVar[str] = "images"

    labels: np.ndarray
    identities: int = 16
    images: int = 4
    seed: int = 0
    groups: list[np.ndarray] = field(init=False, repr=False, compare=False)
    n_identities: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.identities < 1 or self.images < 1:
            raise UserError(
                f"A batch of {self.identities} identities x {self.images} images is empty; both must be >= 1."
            )
        if self.seed < 0:
            raise UserError(f"seed={self.seed} must be 0 or more.")
        every = _rows_by_label(self.labels)
        groups = self._usable(every)
        if len(groups) < self.identities:
            raise TooFewIdentities(
                f"The sampler needs {self.identities} identities per batch; the training split has {len(groups)} that "
                "it can use. Lower `identities`, or give more identities.",
                len(groups),
            )
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "n_identities", len(every))

    def _usable(self, groups: list[np.ndarray]) -> list[np.ndarray]:
        return groups

    @property
    def batch_size(self) -> int:
        """Rows in a batch: P x K."""
        return self.identities * self.images

    @property
    def filled(self) -> int:
        """Identities with fewer than K rows: some of their rows come more than once in a batch."""
        return sum(len(group) < self.images for group in self.groups)

    @property
    def left_out(self) -> int:
        """Identities with too few rows to be drawn at all."""
        return self.n_identities - len(self.groups)

    @cached_property
    def seen(self) -> int:
        """Different rows in the batches of the first epoch; of the others it is about as many."""
        found = np.zeros(len(self.labels), dtype=bool)
        for batch in self.batches(0):
            found[batch] = True
        return int(found.sum())

    @property
    def share(self) -> float:
        """Share of the rows that an epoch sees, 0 to 1."""
        return self.seen / max(1, len(self.labels))

    @property
    def note(self) -> str:
        """Return how many rows an epoch sees, where not all, and what becomes of identities with fewer than K."""
        seen = f"An epoch sees {self.seen:,} of {len(self.labels):,} {self.unit} ({self.share:.0%})."
        return " ".join(filter(None, [seen if self.seen < len(self.labels) else "", self._few]))

    @property
    def _few(self) -> str:
        few = f"of {self.n_identities} identities have fewer than {self.images} rows"
        if self.left_out:
            return f"{self.left_out} {few} and are left out."
        return (
            f"{self.filled} {few}: every row is used, and some come more than once in a batch." if self.filled else ""
        )

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch])

    @property
    def _n_batches(self) -> int:
        """Batches of an epoch where each is drawn anew: as many as the rows would fill, at least one."""
        return max(1, len(self.labels) // self.batch_size)

    def _dealt(self, chunks: list[list[np.ndarray]], rng: np.random.Generator) -> list[np.ndarray]:
        """Take one chunk of P random identities per batch until fewer than P identities have chunks left."""
        alive = list(range(len(chunks)))
        batches = []
        while len(alive) >= self.identities:
            chosen = rng.choice(len(alive), self.identities, replace=False)
            batches.append(np.concatenate([chunks[alive[i]].pop() for i in chosen]))
            alive = [i for i in alive if chunks[i]]
        return batches

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the epoch's batches, each int64 [P * K] rows."""
        raise NotImplementedError
