"""Which rows form a batch.

Every sampler is a pure function of (seed, epoch), so a resumed run draws the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from reidlab.errors import UserError, nearest

__all__ = ["EHTMSampler", "PKSampler", "Sampler", "build_sampler"]


def _rows_by_label(labels: Sequence[Any] | np.ndarray) -> list[np.ndarray]:
    """Group row numbers by label, groups in order of the sorted labels."""
    groups: dict[Any, Any] = dict(pd.Series(np.arange(len(labels))).groupby(np.asarray(labels)).indices)
    return [np.asarray(groups[key]) for key in sorted(groups)]


@dataclass(frozen=True)
class Sampler:
    """Give batches of rows.

    Attributes:
        labels: identity of every row.
        identities: P, different identities in a batch.
        images: K, rows of each.
        seed: any integer of 0 or more.
    """

    labels: np.ndarray
    identities: int = 16
    images: int = 4
    seed: int = 0
    groups: list[np.ndarray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.identities < 1 or self.images < 1:
            raise UserError(
                f"A batch of {self.identities} identities x {self.images} images is empty; both must be >= 1."
            )
        if self.seed < 0:
            raise UserError(f"seed={self.seed} must be 0 or more.")
        groups = self._usable(_rows_by_label(self.labels))
        if len(groups) < self.identities:
            raise UserError(
                f"The sampler wants {self.identities} identities a batch, the training split has {len(groups)} that it "
                "can use. Lower `identities`, or give more identities."
            )
        object.__setattr__(self, "groups", groups)

    def _usable(self, groups: list[np.ndarray]) -> list[np.ndarray]:
        return groups

    @property
    def batch_size(self) -> int:
        """Rows in a batch: P x K."""
        return self.identities * self.images

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch])

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Give the epoch's batches, each int64 [P * K] rows."""
        raise NotImplementedError


@dataclass(frozen=True)
class PKSampler(Sampler):
    """P identities x K images.

    Without replacement (the field's default): each identity's images are shuffled and cut in chunks of K (an identity
    with fewer than K images gives one chunk, drawn with repetition; a remainder waits for another epoch), and batches
    take one chunk of P random identities until fewer than P identities have chunks left. With replacement:
    floor(rows / PK) independent batches.
    """

    replacement: bool = False

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Give the epoch's batches, each int64 [P * K] rows, P different identities in every one."""
        rng = self._generator(epoch)
        if self.replacement:
            n_batches = max(1, sum(map(len, self.groups)) // self.batch_size)
            return [self._independent(rng) for _ in range(n_batches)]
        chunks = [self._chunks(group, rng) for group in self.groups]
        alive = list(range(len(chunks)))
        batches = []
        while len(alive) >= self.identities:
            chosen = rng.choice(len(alive), self.identities, replace=False)
            batches.append(np.concatenate([chunks[alive[i]].pop() for i in chosen]))
            alive = [i for i in alive if chunks[i]]
        return batches

    def _independent(self, rng: np.random.Generator) -> np.ndarray:
        chosen = rng.choice(len(self.groups), self.identities, replace=False)
        draws = [rng.choice(self.groups[i], self.images, replace=len(self.groups[i]) < self.images) for i in chosen]
        return np.concatenate(draws)

    def _chunks(self, group: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        if len(group) < self.images:
            return [rng.choice(group, self.images, replace=True)]
        shuffled = rng.permutation(group)
        whole = len(group) // self.images * self.images
        return list(shuffled[:whole].reshape(-1, self.images))


@dataclass(frozen=True)
class EHTMSampler(Sampler):
    """12 identities x 4 triplets, drawn anew for every batch; the rows index a triplet table, labels are anchor pids.

    Identities with fewer than K triplets are left out; an epoch is floor(triplets / PK) batches, and no identity is
    sure to be seen in it (as published with the custom CNN).
    """

    identities: int = 12

    def _usable(self, groups: list[np.ndarray]) -> list[np.ndarray]:
        return [group for group in groups if len(group) >= self.images]

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Give the epoch's batches, each int64 [P * K] rows of the triplet table, shuffled."""
        rng = self._generator(epoch)
        n_batches = max(1, len(self.labels) // self.batch_size)
        batches = []
        for _ in range(n_batches):
            chosen = rng.choice(len(self.groups), self.identities, replace=False)
            rows = np.concatenate([rng.choice(self.groups[i], self.images, replace=False) for i in chosen])
            batches.append(rng.permutation(rows))
        return batches


_SAMPLERS: dict[str, type[Sampler]] = {"pk": PKSampler, "ehtm": EHTMSampler}


def build_sampler(name: str, labels: np.ndarray, *, seed: int = 0, **options: Any) -> Sampler:
    """Build a sampler by its registered name: pk or ehtm.

    Raises:
        UserError: unknown name or option, or too few identities.
    """
    if name not in _SAMPLERS:
        raise UserError(f"sampler {name!r} is unknown; choose from {', '.join(_SAMPLERS)}.{nearest(name, _SAMPLERS)}")
    known = {"identities", "images"} | ({"replacement"} if name == "pk" else set())
    for option in options:
        if option not in known:
            raise UserError(f"sampler {name!r} has no option {option!r}; it has {', '.join(sorted(known))}.")
    return _SAMPLERS[name](np.asarray(labels), seed=seed, **options)
