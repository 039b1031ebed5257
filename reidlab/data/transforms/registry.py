"""Transforms by name, as a recipe lists them: `{name: random_2d_translation, p: 0.5}`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import ConfigDict, ValidationError, create_model
from torch import Generator, Tensor

from reidlab.data.transforms.colour import color_jitter, global_grayscale, local_grayscale
from reidlab.data.transforms.geometry import (
    random_2d_translation,
    random_crop,
    random_flip,
    random_resized_crop,
    resize,
)
from reidlab.data.transforms.mixing import aug_mix
from reidlab.data.transforms.occlusion import cutout, random_erase, random_patch
from reidlab.data.transforms.policies import auto_augment, rand_augment, trivial_augment
from reidlab.errors import UserError, nearest

__all__ = ["TRANSFORMS", "Transform", "TransformEntry", "build_transform"]


@dataclass(frozen=True)
class TransformEntry:
    """A registered transform: function(images, generator, **options), what it changes, and one line on it."""

    function: Callable[..., Tensor]
    kind: Literal["geometry", "occlusion", "colour", "policy"]
    description: str

    @cached_property
    def options(self) -> dict[str, inspect.Parameter]:
        """Options by name, with their defaults."""
        parameters = inspect.signature(self.function, eval_str=True).parameters
        return {name: each for name, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}


TRANSFORMS: dict[str, TransformEntry] = {
    "resize": TransformEntry(resize, "geometry", "resize to size (height, width)"),
    "random_flip": TransformEntry(random_flip, "geometry", "mirror left-right"),
    "random_crop": TransformEntry(random_crop, "geometry", "pad with black and cut the size out at a random place"),
    "random_2d_translation": TransformEntry(
        random_2d_translation, "geometry", "enlarge to 1.125 x and cut the size out at a random place (torchreid)"
    ),
    "random_resized_crop": TransformEntry(
        random_resized_crop, "geometry", "cut out a part of random area and shape and resize it"
    ),
    "random_erase": TransformEntry(random_erase, "occlusion", "erase one rectangle (random erasing)"),
    "cutout": TransformEntry(cutout, "occlusion", "erase one square of a given size"),
    "random_patch": TransformEntry(random_patch, "occlusion", "paste a patch of another image of the batch (OSNet)"),
    "local_grayscale": TransformEntry(
        local_grayscale, "colour", "take the colour out of one rectangle (local grayscale transformation, LGT)"
    ),
    "global_grayscale": TransformEntry(global_grayscale, "colour", "take the colour out of the whole image"),
    "color_jitter": TransformEntry(color_jitter, "colour", "change brightness, contrast, saturation and hue"),
    "auto_augment": TransformEntry(auto_augment, "policy", "a random one of 25 learned pairs of operations"),
    "rand_augment": TransformEntry(rand_augment, "policy", "random operations of one magnitude"),
    "trivial_augment": TransformEntry(trivial_augment, "policy", "one random operation of a random magnitude"),
    "aug_mix": TransformEntry(aug_mix, "policy", "mix with chains of random operations on the same image"),
}


@dataclass(frozen=True)
class Transform:
    """A registered transform with its options."""

    name: str
    options: dict[str, Any]

    def __call__(self, images: Tensor, generator: Generator, *, fill: Sequence[float] | None = None) -> Tensor:
        """Change uint8 [batch, 3, height, width]; `fill` is the colour of what it erases where its options say none."""
        entry = TRANSFORMS[self.name]
        given = {"fill": fill} if fill is not None and "fill" in entry.options else {}
        return entry.function(images, generator, **(given | self.options))


def build_transform(name: str, **options: Any) -> Transform:
    """Give a transform by its registered name, its options checked.

    Raises:
        UserError: unknown name or option, or an impossible value.
    """
    if name not in TRANSFORMS:
        raise UserError(
            f"transform {name!r} is unknown; choose from {', '.join(TRANSFORMS)}.{nearest(name, TRANSFORMS)}"
        )
    known = TRANSFORMS[name].options
    for option in options:
        if option not in known:
            has = f"it has {', '.join(known)}"
            raise UserError(f"transform {name!r} has no option {option!r}; {has}.{nearest(option, known)}")
    fields: Any = {
        each.name: (each.annotation, ... if each.default is inspect.Parameter.empty else each.default)
        for each in known.values()
    }
    try:
        checked = create_model(name, __config__=ConfigDict(arbitrary_types_allowed=True), **fields)(**options)
        made = Transform(name, checked.model_dump(exclude_unset=True))
        made(torch.empty(0, 3, 16, 8, dtype=torch.uint8), Generator())  # the functions themselves check the values
    except ValidationError as error:
        problem = error.errors()[0]
        option = ".".join(str(part) for part in problem["loc"])
        given = "" if problem["type"] == "missing" else f", given {problem['input']!r}"
        raise UserError(f"transform {name!r}, option {option}: {problem['msg']}{given}.") from error
    except UserError as error:
        raise UserError(f"transform {name!r}: {error}") from error
    return made
