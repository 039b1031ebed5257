"""What a training learns from: labels of rows, the units that a sampler draws, and the sampler."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reidlab.data.pixels import PixelStore
from reidlab.data.samplers import Sampler, build_sampler
from reidlab.data.samplers.base import TooFewIdentities
from reidlab.data.schema import is_distractor, is_junk
from reidlab.data.triplets import Triplets, make_triplets
from reidlab.errors import UserError
from reidlab.ids import as_ids
from reidlab.training.recipes import Recipe, list_recipes

__all__ = ["Task", "make_task"]

_SMALL = 0.5  # share of the images in an epoch; drawn with replacement it is 0.63
_REMEDY = (
    "Few identities have most of the images. Fewer identities in a batch (sampler.identities) or fewer images of each "
    "(sampler.images) show more of them; sampler shuffle shows all, to losses that need no pairs."
)


@dataclass(frozen=True)
class Task:
    """The training data of one run.

    Attributes:
        labels: int64 [table row], 0..class-1 on training rows, -1 elsewhere.
        units: what the sampler draws: rows [n, 1], or triplets of rows [n, 3].
        sampler: draws units.
        identities: names of the training identities, that of class i at i.
    """

    labels: np.ndarray
    units: np.ndarray
    sampler: Sampler
    identities: tuple[str, ...]

    @property
    def n_identities(self) -> int:
        """How many training identities there are."""
        return len(self.identities)

    @property
    def digest(self) -> str:
        """Digest of labels and units: a run goes on only with the data that it began with."""
        return hashlib.sha256(self.labels.tobytes() + self.units.astype(np.int64).tobytes()).hexdigest()[:16]

    @property
    def classes(self) -> str:
        """Digest of who stands behind each class and which rows show them: logits of equal digests may be compared."""
        return hashlib.sha256(self.labels.tobytes() + "\n".join(self.identities).encode()).hexdigest()[:16]

    def rows(self, batch: np.ndarray) -> np.ndarray:
        """Return the table rows of a batch of units; for triplets all anchors, then positives, then negatives."""
        return self.units[batch].T.reshape(-1)


def make_task(
    recipe: Recipe,
    table: pd.DataFrame,
    pixels: PixelStore,
    triplets: Triplets | None,
    seed: int,
    *,
    needs_triplets: bool,
) -> Task:
    """Label the train split (junk and distractors left out) and build the recipe's sampler.

    Raises:
        UserError: no train images, fewer identities than the sampler needs, foreign triplets or pixels.
    """
    if pixels.n_images != len(table):
        raise UserError(
            f"The pixel store has {pixels.n_images} images and the table {len(table)}; both must be of the same data."
        )
    usable = (table["split"] == "train") & ~is_junk(table) & ~is_distractor(table)
    rows = np.flatnonzero(usable.to_numpy())
    if not len(rows):
        raise UserError("The table has no train images; prepare a split first (notebook 01).")
    names, codes = np.unique(as_ids("pid", table["pid"].to_numpy()[rows]).astype(str), return_inverse=True)
    labels = np.full(len(table), -1, dtype=np.int64)
    labels[rows] = codes
    if not needs_triplets:
        units = rows[:, None]
    elif triplets is None:
        units = make_triplets(table.iloc[rows].reset_index(drop=True), seed=seed).within(rows).rows
    else:
        units = triplets.rows
        strange = units.max(initial=-1) >= len(table) or units.min(initial=0) < 0
        if strange or (labels[units] < 0).any() or not _agree(labels[units]):
            raise UserError("The triplets do not belong to this table's train split; draw them again (notebook 02).")
    options = recipe.sampler.model_dump(exclude={"name"}, exclude_none=True)
    cameras = table["camid"].to_numpy()[units[:, 0]] if "camid" in table else None
    try:
        sampler = build_sampler(recipe.sampler.name, labels[units[:, 0]], seed=seed, cameras=cameras, **options)
    except UserError as error:
        raise UserError(f"recipe {recipe.name}, sampler: {error}{_lines_that_work(recipe, error)}") from error
    if sampler.share < _SMALL:
        warnings.warn(f"recipe {recipe.name}, sampler {recipe.sampler.name}: {sampler.note} {_REMEDY}", stacklevel=2)
    return Task(labels, units, sampler, tuple(names.tolist()))


def _lines_that_work(recipe: Recipe, error: UserError) -> str:
    """Return the lines of a recipe whose batches fit the identities there are; nothing where there is only one."""
    if not isinstance(error, TooFewIdentities) or error.usable < 2:
        return ""
    line = f"  sampler: {{identities: {error.usable}}}"
    if recipe.name not in list_recipes():
        return f" In your recipe:\n{line}"
    file = f"{recipe.name}_{error.usable}.yaml"
    return f" Write these two lines into {file} and train with `-p recipe {file}`:\n  base: {recipe.name}\n{line}"


def _agree(labels: np.ndarray) -> bool:
    """Return whether every triplet's positive has its anchor's identity and its negative another one."""
    return bool((labels[:, 0] == labels[:, 1]).all() and (labels[:, 0] != labels[:, 2]).all())
