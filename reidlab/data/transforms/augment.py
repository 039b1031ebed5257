"""The training transforms of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Generator, Tensor

from reidlab.data.transforms.build import Transform, build_transform
from reidlab.data.transforms.geometry import random_crop, random_flip
from reidlab.data.transforms.occlusion import random_erase
from reidlab.errors import UserError

__all__ = ["Augment"]


@dataclass(frozen=True)
class Augment:
    """The training transforms of a recipe: first `steps` in their order, then flip, crop, erase.

    Attributes:
        flip: probability of mirroring.
        crop_padding: pixels of black border before the random crop; 0 leaves it out.
        erase: probability of erasing one rectangle.
        steps: transforms by name with their options, such as {"name": "random_2d_translation", "p": 0.5}.
    """

    flip: float = 0.0
    crop_padding: int = 0
    erase: float = 0.0
    steps: Sequence[Mapping[str, Any]] = ()
    _built: tuple[Transform, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"augment {name}={getattr(self, name)} must be a probability from 0 to 1.")
        if self.crop_padding < 0:
            raise UserError(f"augment crop_padding={self.crop_padding} must be 0 or more pixels.")
        object.__setattr__(self, "_built", tuple(_build(i, step) for i, step in enumerate(self.steps, 1)))

    def __call__(self, images: Tensor, generator: Generator, *, fill: Sequence[float] = (0.0, 0.0, 0.0)) -> Tensor:
        """Apply the transforms to uint8 [batch, 3, height, width]; `fill` is the erasing colour in [0, 1]."""
        for step in self._built:
            images = step(images, generator, fill=fill)
        if self.flip:
            images = random_flip(images, generator, p=self.flip)
        if self.crop_padding:
            images = random_crop(images, generator, padding=self.crop_padding)
        if self.erase:
            images = random_erase(images, generator, p=self.erase, fill=fill)
        return images


def _build(number: int, step: Mapping[str, Any]) -> Transform:
    if not isinstance(step, Mapping) or "name" not in step or not all(isinstance(key, str) for key in step):
        raise UserError(
            f"augment step {number} must be a mapping with a name, such as {{name: random_flip}}; got {step!r}."
        )
    try:
        return build_transform(**step)
    except UserError as error:
        raise UserError(f"augment step {number}: {error}") from error
