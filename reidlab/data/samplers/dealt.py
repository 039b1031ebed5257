"""Samplers that deal out each identity's images in chunks: an image comes once per epoch, or not at all.

An epoch ends when fewer than P identities have images left. Where identities have equally many, nearly all images are
seen; where few identities have most of them, most are not (`share` says it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reidlab.data.samplers.base import Sampler, filled_rows
from reidlab.errors import UserError

__all__ = ["CameraSampler", "PKSampler"]


@dataclass(frozen=True)
class PKSampler(Sampler):
    """P identities x K images.

    Without replacement (the field's default): each identity's images are shuffled and cut in chunks of K (an identity
    with fewer than K images gives one chunk, in which every image comes before one repeats; a remainder waits for
    another epoch), and batches take one chunk of P random identities until fewer than P identities have chunks left:
    what these have left is not seen in this epoch.
    With replacement: floor(rows / PK) independent batches.

    Args:
        replacement: draw every batch anew instead of dealing the images out.
    """

    replacement: bool = False

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the epoch's batches, each int64 [P * K] rows, P different identities in every one."""
        rng = self._generator(epoch)
        if self.replacement:
            return [self._independent(rng) for _ in range(self._n_batches)]
        return self._dealt([self._chunks(group, rng) for group in self.groups], rng)

    def _independent(self, rng: np.random.Generator) -> np.ndarray:
        chosen = [self.groups[i] for i in rng.choice(len(self.groups), self.identities, replace=False)]
        enough = self.images
        return np.concatenate(
            [rng.choice(g, enough, replace=False) if len(g) >= enough else filled_rows(g, enough, rng) for g in chosen]
        )

    def _chunks(self, group: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        if len(group) < self.images:
            return [filled_rows(group, self.images, rng)]
        shuffled = rng.permutation(group)
        whole = len(group) // self.images * self.images
        return list(shuffled[:whole].reshape(-1, self.images))


@dataclass(frozen=True)
class CameraSampler(Sampler):
    """P identities x K images that come from as many cameras as possible, without replacement.

    As `PKSampler`, but an identity's chunks share out the images of each camera evenly, so that the positives of a
    batch are the hard ones: other cameras, as in the test.
    """

    cameras: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.cameras is None:
            raise UserError("sampler 'camera' needs the camera of every row (`camid`); use pk where there is none.")
        if len(self.cameras) != len(self.labels):
            raise UserError(f"{len(self.cameras)} cameras for {len(self.labels)} rows; give one per row.")
        super().__post_init__()

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the epoch's batches, each int64 [P * K] rows, P different identities in every one."""
        rng = self._generator(epoch)
        codes = pd.factorize(np.asarray(self.cameras))[0]
        return self._dealt([self._chunks(group, codes, rng) for group in self.groups], rng)

    def _chunks(self, group: np.ndarray, codes: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        if len(group) < self.images:
            return [filled_rows(group, self.images, rng)]
        n_chunks = len(group) // self.images
        apart, rest = [], []
        for code in rng.permutation(np.unique(codes[group])):
            rows = rng.permutation(group[codes[group] == code])
            apart.append(rows[:n_chunks])
            rest.append(rows[n_chunks:])
        rows = np.concatenate([*apart, rng.permutation(np.concatenate(rest))])[: n_chunks * self.images]
        # dealt in turn: at most n_chunks of a camera follow each other, so that no chunk has two where another has none
        chunks = list(rows.reshape(self.images, n_chunks).T)
        return [chunks[i] for i in rng.permutation(n_chunks)]
