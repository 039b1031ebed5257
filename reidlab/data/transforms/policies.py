"""AutoAugment and its successors: for each image its own operations and magnitudes.

Operations, ranges of magnitudes and AutoAugment's learned policies are read from torchvision's own classes; only the
draws are ours, because torchvision draws once a call, for a whole batch, and from the global generator. What lies
outside the image becomes black.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torchvision.transforms.v2 as tv
from torch import Generator, Tensor

from reidlab.data.transforms.draws import check_batch, chosen
from reidlab.data.transforms.operations import apply_operations
from reidlab.errors import UserError

__all__ = ["aug_mix", "auto_augment", "rand_augment", "trivial_augment"]

Ranges = Mapping[str, tuple[list[float], bool]]  # operation -> magnitudes by bin, and whether half of them are negated
Draws = list[tuple[str, float]]


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
    names = [each.value for each in tv.AutoAugmentPolicy]
    if policy not in names:
        raise UserError(f"policy={policy!r} is unknown; choose from {', '.join(names)}.")
    n, used = len(images), chosen(len(images), p, generator)
    ranges = _ranges(tv.AutoAugment, 10, images)
    pairs = tv.AutoAugment(tv.AutoAugmentPolicy(policy))._policies
    which = torch.randint(len(pairs), (n,), generator=generator).tolist()
    for place in (0, 1):
        luck, minus = torch.rand(n, generator=generator).tolist(), _half(n, generator)
        draws: list[tuple[str, float] | None] = [None] * n
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
    ranges = _ranges(tv.RandAugment, bins, images)
    out = images.clone()
    for _ in range(operations):
        out = apply_operations(out, _only(used, _draw(n, ranges, [magnitude] * n, generator)))
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
    return apply_operations(
        images, _only(used, _draw(n, _ranges(tv.TrivialAugmentWide, bins, images), levels, generator))
    )


def aug_mix(
    images: Tensor,
    generator: Generator,
    *,
    p: float = 1.0,
    severity: int = 3,
    width: int = 3,
    depth: int = -1,
    alpha: float = 1.0,
) -> Tensor:
    """Mix each image with chains of random operations on it with probability `p` (AugMix, Hendrycks et al. 2020).

    The result is rounded (torchvision cuts the fraction off, which darkens by half a level).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        severity: magnitudes are drawn from the lowest `severity` of ten steps.
        width: chains.
        depth: operations in a chain; below 1: 1 to 3, drawn.
        alpha: of the Dirichlet and Beta distributions of the weights.
    """
    check_batch(images, generator)
    if not 1 <= severity <= 10 or width < 1 or not alpha > 0:
        raise UserError(
            f"aug_mix with severity={severity}, width={width}, alpha={alpha}: give a severity from 1 to 10, 1 or more "
            "chains, and an alpha of more than 0."
        )
    n, used = len(images), chosen(len(images), p, generator)
    ranges = _ranges(tv.AugMix, 10, images)
    # torch has no Dirichlet that takes a generator, NumPy has one: it is seeded from ours
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    keep = rng.beta(alpha, alpha, n)
    weights = rng.dirichlet([alpha] * width, n) * (1 - keep[:, None])
    lengths = torch.randint(1, 4, (n, width), generator=generator) if depth < 1 else torch.full((n, width), depth)
    mixed = _weighted(images[used], keep[used])
    for chain in range(width):
        changed = images[used]
        for step in range(max(3 if depth < 1 else depth, 0)):
            draws = _draw(n, ranges, torch.randint(severity, (n,), generator=generator).tolist(), generator)
            going = [draws[i] if lengths[i, chain] > step else None for i in used]
            changed = apply_operations(changed, going, smooth=True)
        mixed += _weighted(changed, weights[used, chain])
    out = images.clone()
    out[used] = mixed.round_().clamp_(0, 255).to(torch.uint8)
    return out


def _weighted(images: Tensor, weights: np.ndarray) -> Tensor:
    factors = torch.tensor(weights, dtype=torch.float32, device=images.device)
    return images * factors[:, None, None, None]


def _ranges(policy: type[tv.Transform], bins: int, images: Tensor) -> Ranges:
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


def _draw(n: int, ranges: Ranges, levels: list[int], generator: Generator) -> Draws:
    """Draw an operation for each of `n` images, with the magnitude of its level and, where it takes one, a sign."""
    names = list(ranges)
    which = torch.randint(len(names), (n,), generator=generator).tolist()
    minus = _half(n, generator)
    return [(names[k], _magnitude(ranges, names[k], levels[i], minus[i])) for i, k in enumerate(which)]


def _only(used: list[int], draws: Draws) -> list[tuple[str, float] | None]:
    kept = set(used)
    return [draw if i in kept else None for i, draw in enumerate(draws)]
