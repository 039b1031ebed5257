"""AugMix: images mixed with chains of operations on them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from reidlab.data.transforms.draws import check_batch, chosen
from reidlab.data.transforms.library import torchvision_v2
from reidlab.data.transforms.operations import apply_operations, portions
from reidlab.data.transforms.policies import Draws, draw_operations, ranges_of
from reidlab.errors import UserError

__all__ = ["aug_mix"]


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
    # torch has no Dirichlet that takes a generator, NumPy has one: it is seeded from ours
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    keep = rng.beta(alpha, alpha, n)
    weights = rng.dirichlet([alpha] * width, n) * (1 - keep[:, None])
    chains = [_chain(images, generator, severity, depth) for _ in range(width)]
    out = images.clone()
    for part in portions(used, images.device):
        rows = [part.start] if isinstance(part, slice) else part
        mixed = _weighted(images[part], keep[rows])
        for chain, steps in enumerate(chains):
            changed = images[part]
            for draws in steps:
                changed = apply_operations(changed, [draws[i] for i in rows], smooth=True)
            mixed += _weighted(changed, weights[rows, chain])
        out[part] = mixed.round_().clamp_(0, 255).to(torch.uint8)
    return out


def _chain(images: Tensor, generator: Generator, severity: int, depth: int) -> list[Draws]:
    """Draw each image's operations by step; chains of random depth have none in their last steps."""
    n, ranges = len(images), ranges_of(torchvision_v2().AugMix, 10, images)
    lengths = torch.randint(1, 4, (n,), generator=generator).tolist() if depth < 1 else [depth] * n
    steps = []
    for step in range(3 if depth < 1 else depth):
        levels = torch.randint(severity, (n,), generator=generator).tolist()
        steps.append(draw_operations(ranges, levels, [i for i in range(n) if lengths[i] > step], generator))
    return steps


def _weighted(images: Tensor, weights: np.ndarray) -> Tensor:
    factors = torch.tensor(weights, dtype=torch.float32, device=images.device)
    return images * factors[:, None, None, None]
