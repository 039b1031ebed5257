"""AutoAugment and its successors: for each image its own operations and magnitudes.

Operations, ranges of magnitudes and AutoAugment's learned policies are read from torchvision's own classes; only the
draws are ours, because torchvision draws once per call, for a whole batch, and from the global generator. What lies
outside the image becomes black.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from reidlab.data.transforms.draws import check_batch, chosen
from reidlab.data.transforms.library import torchvision_v2
from reidlab.data.transforms.operations import apply_operations
from reidlab.errors import UserError

__all__ = ["Draws", "auto_augment", "draw_operations", "rand_augment", "ranges_of", "trivial_augment"]

Ranges = Mapping[str, tuple[list[float], bool]]  # operation -> magnitudes by bin, and whether half of them are negated
Draws = list[tuple[str, float] | None]  # operation and magnitude of each image, None where it stays


def auto_augment(
    images: Tensor,
    generator: Generator,
    *,
    p: float = 1.0,
    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet",
) -> Tensor:
    """Apply a random one of 25 learned pairs of operations with probability `p` (AutoAugment, Cubuk et al. 2019).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1]; re-identification recipes use 0.1.
        policy: what the pairs were learned on: imagenet, cifar10 or svhn.
    """
    check_batch(images, generator)
    tv = torchvision_v2()
    names = [each.value for each in tv.AutoAugmentPolicy]
    if policy not in names:
        raise UserError(f"policy={policy!r} is unknown; choose from {', '.join(names)}.")
    n, used = len(images), chosen(len(images), p, generator)
    ranges = ranges_of(tv.AutoAugment, 10, images)
    pairs = tv.AutoAugment(tv.AutoAugmentPolicy(policy))._policies
    which = torch.randint(len(pairs), (n,), generator=generator).tolist()
    for place in (0, 1):
        luck, minus = torch.rand(n, generator=generator).tolist(), _half(n, generator)
        draws: Draws = [None] * n
        for i in used:
            name, probability, level = pairs[which[i]][place]
            if luck[i] <= probability:
                draws[i] = name, _magnitude(ranges, name, level or 0, minus[i])
        images = apply_operations(images, draws)
    return images


def rand_augment(
    images: Tensor, generator: Generator, *, p: float = 1.0, operations: int = 2, magnitude: int = 9, bins: int = 31
) -> Tensor:
    """Apply `operations` random operations of one magnitude with probability `p` (RandAugment, Cubuk et al. 2020).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        operations: how many, one after another.
        magnitude: 0 to `bins` - 1.
        bins: steps from no change to the largest one.
    """
    check_batch(images, generator)
    if operations < 0 or bins < 2 or not 0 <= magnitude < bins:
        raise UserError(
            f"rand_augment with operations={operations}, magnitude={magnitude}, bins={bins}: give 0 or more "
            "operations, 2 or more bins, and a magnitude from 0 to bins - 1."
        )
    n, used = len(images), chosen(len(images), p, generator)
    ranges = ranges_of(torchvision_v2().RandAugment, bins, images)
    out = images.clone()
    for _ in range(operations):
        out = apply_operations(out, draw_operations(ranges, [magnitude] * n, used, generator))
    return out


def trivial_augment(images: Tensor, generator: Generator, *, p: float = 1.0, bins: int = 31) -> Tensor:
    """Apply one random operation of a random magnitude with probability `p` (TrivialAugment, Müller and Hutter 2021).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1]; re-identification recipes use 0.1.
        bins: magnitudes to draw from, over the paper's wide ranges.
    """
    check_batch(images, generator)
    if bins < 2:
        raise UserError(f"bins={bins} must be 2 or more.")
    n, used = len(images), chosen(len(images), p, generator)
    levels = torch.randint(bins, (n,), generator=generator).tolist()
    ranges = ranges_of(torchvision_v2().TrivialAugmentWide, bins, images)
    return apply_operations(images, draw_operations(ranges, levels, used, generator))


def ranges_of(policy: Any, bins: int, images: Tensor) -> Ranges:
    """Read a policy's operations and magnitudes; those without a magnitude get zeros."""
    height, width = images.shape[-2:]
    space = policy._AUGMENTATION_SPACE
    made = {name: (levels(bins, height, width), signed) for name, (levels, signed) in space.items()}
    return {name: ([0.0] * bins if v is None else v.tolist(), signed) for name, (v, signed) in made.items()}


def _half(n: int, generator: Generator) -> list[bool]:
    return (torch.rand(n, generator=generator) < 0.5).tolist()


def _magnitude(ranges: Ranges, name: str, level: int, minus: bool) -> float:
    levels, signed = ranges[name]
    return -float(levels[level]) if signed and minus else float(levels[level])


def draw_operations(ranges: Ranges, levels: list[int], used: Collection[int], generator: Generator) -> Draws:
    """Draw an operation for each image: its level's magnitude, with a sign where it takes one; None if not `used`."""
    names, kept = list(ranges), set(used)
    which = torch.randint(len(names), (len(levels),), generator=generator).tolist()
    minus = _half(len(levels), generator)
    draws = [(names[k], _magnitude(ranges, names[k], levels[i], minus[i])) for i, k in enumerate(which)]
    return [draw if i in kept else None for i, draw in enumerate(draws)]
