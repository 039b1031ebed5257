"""Transforms by name, as a recipe lists them: `{name: random_2d_translation, p: 0.5}`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from reidlab.errors import UserError
from reidlab.registry import TRANSFORMS

__all__ = ["Transform", "build_transform"]


@dataclass(frozen=True)
class Transform:
    """A registered transform with its options."""

    name: str
    options: dict[str, Any]

    def __call__(self, images: Tensor, generator: Generator, *, fill: Sequence[float] | None = None) -> Tensor:
        """Return changed uint8 [batch, 3, height, width]; `fill` colours what is erased without a colour of its own."""
        given = {"fill": fill} if fill is not None and "fill" in TRANSFORMS.options(self.name) else {}
        changed: Tensor = TRANSFORMS.find(self.name).factory(images, generator, **(given | self.options))
        return changed


def build_transform(name: str, **options: Any) -> Transform:
    """Return a transform by its registered name, its options checked.

    Raises:
        UserError: unknown name or option, or an impossible value.
    """
    made = Transform(name, TRANSFORMS.check(name, options))
    try:
        made(torch.empty(0, 3, 16, 8, dtype=torch.uint8), Generator())  # the functions themselves check the values
    except UserError as error:
        raise UserError(f"transform {name!r}: {error}") from error
    return made
