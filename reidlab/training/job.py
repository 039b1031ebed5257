"""What a training is asked to do, as one object that goes to every process of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab.data.pixels import PixelStore
from reidlab.data.triplets import Triplets
from reidlab.devices import check_device
from reidlab.errors import UserError
from reidlab.training.recipes import Recipe

__all__ = ["Job", "check_processes", "images_in"]

_FEWEST = 2  # images of a slice: batch norms refuse a single one


@dataclass(frozen=True)
class Job:
    """The arguments of `reidlab.training.fit`, which says what they are."""

    recipe: Recipe
    table: pd.DataFrame
    pixels: PixelStore
    folder: Path
    seed: int = 0
    device: str = "auto"
    triplets: Triplets | None = None
    progress: bool = True
    stop_after: int | None = None
    tracking: tuple[str, ...] = ()
    run_name: str = ""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the pixels that the store has opened: each process maps them for itself."""
        return {**self.__dict__, "pixels": replace(self.pixels)}


def images_in(recipe: Recipe) -> int:
    """Return how many images a batch of a recipe has at most."""
    sampler = recipe.sampler
    if sampler.name == "shuffle":
        return sampler.batch
    n = sampler.identities * sampler.images
    return 3 * n if any(term.feature == "triplets" for term in recipe.losses) else n


def check_processes(processes: int, recipe: Recipe, device: str) -> str:
    """Return the kind of device on which so many processes train a recipe: cpu or cuda.

    Raises:
        UserError: none of them, too many for the batches, or a device that they cannot share.
    """
    if processes < 1:
        raise UserError(f"processes={processes} must be 1 or more.")
    kind = check_device(device)
    if processes == 1:
        return kind
    n = images_in(recipe)
    if n < _FEWEST * processes:
        raise UserError(
            f"processes={processes} is too many for recipe {recipe.name}: its batches have {n} images, and each "
            f"process needs {_FEWEST} of them at least. Take {max(n // _FEWEST, 1)} or fewer, or larger batches."
        )
    if kind == "mps":
        raise UserError(
            f"processes={processes} train on cpu or cuda, and device {device!r} is mps here: set device='cpu'."
        )
    return kind
