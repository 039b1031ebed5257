"""What hides a part of a person: erased rectangles and squares, and patches of other images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from reidlab.data.transforms.draws import Rectangle, check_batch, chosen, colour, positions, rectangles
from reidlab.data.transforms.library import functional
from reidlab.errors import UserError

__all__ = ["cutout", "random_erase", "random_patch"]


def random_erase(
    images: Tensor,
    generator: Generator,
    *,
    p: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 0.3,
    fill: Sequence[float] = (0.0, 0.0, 0.0),
    tries: int = 100,
) -> Tensor:
    """Erase one rectangle per image with probability `p` (random erasing, Zhong et al. 2020).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        area: the rectangle's share of the image, uniform between the two.
        aspect: height over width is uniform between this and its inverse.
        fill: colour in [0, 1], set to the nearest grey levels: the normalisation mean becomes 0 up to half a level.
        tries: an image whose rectangle never fits stays as it is.
    """
    check_batch(images, generator)
    parts = rectangles(images, generator, p=p, area=area, aspect=aspect, tries=tries)
    out, level = images.clone(), colour(fill, images)
    for i, part in parts.items():
        part.of(out[i])[:] = level
    return out


def cutout(
    images: Tensor, generator: Generator, *, p: float = 0.5, size: int = 64, fill: Sequence[float] = (0.0, 0.0, 0.0)
) -> Tensor:
    """Erase one square of `size` pixels per image with probability `p` (DeVries and Taylor 2017).

    The square lies wholly inside the image, every place alike; an image that is smaller than it loses its whole height
    or width.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        size: side of the square in pixels.
        fill: colour in [0, 1], set to the nearest grey levels.
    """
    check_batch(images, generator)
    if size < 1:
        raise UserError(f"size={size} must be 1 or more pixels.")
    n, _, height, width = images.shape
    tall, wide = min(size, height), min(size, width)
    used = chosen(n, p, generator)
    top = positions(torch.full((n,), height - tall), generator)
    left = positions(torch.full((n,), width - wide), generator)
    out, level = images.clone(), colour(fill, images)
    for i in used:
        Rectangle(top[i], left[i], tall, wide).of(out[i])[:] = level
    return out


def random_patch(
    images: Tensor,
    generator: Generator,
    *,
    p: float = 0.5,
    area: tuple[float, float] = (0.01, 0.5),
    aspect: float = 0.1,
    flip: float = 0.5,
    rotate: float = 0.5,
    degrees: int = 10,
) -> Tensor:
    """Paste a patch of another image of the batch with probability `p` (OSNet, Zhou et al. 2019).

    Torchreid keeps patches of earlier images in a pool; here the batch is the pool, so that a batch depends on its own
    draws alone: every image offers one rectangle, and an image that is chosen gets that of a random other one, at a
    random place. A batch of one stays as it is.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        area: the patch's share of the image, uniform between the two.
        aspect: height over width of the patch is uniform between this and its inverse.
        flip: probability that the patch is mirrored left-right.
        rotate: probability that it is turned by a whole number of degrees, its corners black.
        degrees: largest turn to either side.
    """
    check_batch(images, generator)
    if not 0 <= degrees <= 180:
        raise UserError(f"degrees={degrees} must be 0 to 180.")
    n, _, height, width = images.shape
    offers = rectangles(images, generator, p=1, area=area, aspect=aspect, tries=100)
    used, mirrored = chosen(n, p, generator), set(chosen(n, flip, generator))
    turned = set(chosen(n, rotate, generator))
    angles = torch.randint(-degrees, degrees + 1, (n,), generator=generator).tolist()
    donors = [i + 1 + step for i, step in enumerate(positions(torch.full((n,), max(n - 2, 0)), generator))]
    parts = [offers.get(donor % n, Rectangle(0, 0, 0, 0)) for donor in donors]
    top = positions(torch.tensor([height - part.height for part in parts], dtype=torch.int64), generator)
    left = positions(torch.tensor([width - part.width for part in parts], dtype=torch.int64), generator)
    out = images.clone()
    for i in used:
        part, donor = parts[i], donors[i] % n
        if donor == i or not part.height:
            continue
        patch = part.of(images[donor])
        patch = patch.flip(2) if i in mirrored else patch
        patch = functional().rotate(patch, angles[i]) if i in turned else patch
        Rectangle(top[i], left[i], part.height, part.width).of(out[i])[:] = patch
    return out
