"""Samplers that draw every batch anew: an epoch is as many batches as the rows would fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from reidlab.data.samplers.base import Sampler, filled_rows
from reidlab.errors import UserError, nearest

__all__ = ["EHTMSampler", "WeightedSampler"]


@dataclass(frozen=True)
class WeightedSampler(Sampler):
    """Batches of P x K rows drawn by inverse frequency, for data where few identities have most images.

    By "identity": P different identities, each with weight 1 / (its images), and K images of each: rare identities come
    more often than common ones. By "image": PK images drawn one by one, each with weight 1 / (images of its identity):
    every identity comes equally often, and an image may repeat; for losses that need no positives in the batch.

    Args:
        by: what is drawn, "identity" or "image".
    """

    by: str = "identity"

    def __post_init__(self) -> None:
        if self.by not in ("identity", "image"):
            hint = nearest(str(self.by), ("identity", "image"))
            raise UserError(f"sampler 'weighted' draws by identity or by image, not by={self.by!r}.{hint}")
        super().__post_init__()

    @property
    def filled(self) -> int:
        """Identities with fewer than K rows where K are wanted of each; none are by "image"."""
        return super().filled if self.by == "identity" else 0

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the epoch's batches, each int64 [P * K] rows: floor(rows / PK) of them, at least one."""
        rng = self._generator(epoch)
        if self.by == "image":
            return self._images(rng)
        weights = np.array([1 / len(group) for group in self.groups])
        weights /= weights.sum()
        batches = []
        for _ in range(self._n_batches):
            chosen = rng.choice(len(self.groups), self.identities, replace=False, p=weights)
            batches.append(np.concatenate([filled_rows(self.groups[i], self.images, rng) for i in chosen]))
        return batches

    def _images(self, rng: np.random.Generator) -> list[np.ndarray]:
        weights = np.zeros(len(self.labels))
        for group in self.groups:
            weights[group] = 1 / len(group) / len(self.groups)
        return list(rng.choice(len(self.labels), (self._n_batches, self.batch_size), p=weights))


@dataclass(frozen=True)
class EHTMSampler(Sampler):
    """12 identities x 4 triplets, drawn anew for every batch; the rows index a triplet table, labels are anchor pids.

    Identities with fewer than K triplets are left out; an epoch is floor(triplets / PK) batches, and no identity is
    sure to be seen in it (as published with the custom CNN).
    """

    unit: ClassVar[str] = "triplets"

    identities: int = 12

    def _usable(self, groups: list[np.ndarray]) -> list[np.ndarray]:
        return [group for group in groups if len(group) >= self.images]

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the epoch's batches, each int64 [P * K] rows of the triplet table, shuffled."""
        rng = self._generator(epoch)
        batches = []
        for _ in range(self._n_batches):
            chosen = rng.choice(len(self.groups), self.identities, replace=False)
            rows = np.concatenate([rng.choice(self.groups[i], self.images, replace=False) for i in chosen])
            batches.append(rng.permutation(rows))
        return batches
