"""The sampler of plain classification: no identities are counted out, every image comes once per epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reidlab.data.samplers.base import Sampler
from reidlab.errors import UserError

__all__ = ["ShuffleSampler"]


@dataclass(frozen=True)
class ShuffleSampler(Sampler):
    """All rows in a random order, in batches of `batch`; for losses that need no positives, such as cross-entropy.

    The last batch has what is left over, from 2 to `batch` rows; a single row that is left joins the batch before it,
    because batch normalisation has no variance of one image.

    Attributes:
        batch: rows in a batch.
    """

    identities: int = field(default=1, init=False, repr=False)  # P x K means nothing here
    images: int = field(default=1, init=False, repr=False)
    batch: int = 64

    def __post_init__(self) -> None:
        if self.batch < 2:
            raise UserError(f"sampler 'shuffle' with batch={self.batch}: give 2 or more, for batch normalisation.")
        if len(self.labels) < 2:
            raise UserError(f"sampler 'shuffle' has {len(self.labels)} images to make batches of; it needs 2 or more.")
        super().__post_init__()

    @property
    def batch_size(self) -> int:
        """Rows in a batch but the last."""
        return self.batch

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the epoch's batches, each int64 [batch], the last one with what is left over."""
        rows = self._generator(epoch).permutation(len(self.labels))
        ends = [*range(self.batch, len(rows) - 1, self.batch)]  # none is the last row's place: it would be alone
        return np.split(rows, ends)
