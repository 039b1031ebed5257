"""Corrupt every image by itself: with draws that depend on its pixels and a seed, and on nothing else."""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import UInt8
from torch import Generator, Tensor

from reidlab.data.transforms.corruptions.severities import check_severity
from reidlab.data.transforms.draws import check_batch
from reidlab.errors import UserError
from reidlab.registry import CORRUPTIONS

__all__ = ["corrupt"]


def corrupt(
    images: UInt8[Tensor, "batch 3 height width"], name: str, *, severity: int, seed: int = 0
) -> UInt8[Tensor, "batch 3 height width"]:
    """Return a batch whose every image is corrupted with draws of its own.

    An image comes out the same alone and in any batch, in whatever order. The draws of its severities are the same too
    (the same block covers more, the same grains get stronger), so that severities differ in nothing else.

    Args:
        images: uint8 [batch, 3, height, width].
        name: of a registered corruption (`reidlab corruptions`).
        severity: 1 (slight) to 5 (worst).
        seed: of all draws, 0 to 2**32 - 1.

    Raises:
        UserError: an unknown name, another severity or seed, images that are no such batch.
    """
    check_severity(severity)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(f"seed={seed!r} must be a whole number from 0 to 4294967295.")
    check_batch(images, Generator())
    change = CORRUPTIONS.find(name).factory
    changed = [change(image[None], _generator(image, seed), severity=severity) for image in images]
    return torch.cat(changed) if changed else images.clone()


def _generator(image: Tensor, seed: int) -> Generator:
    """Return the generator of an image: equal pixels, equal draws."""
    digest = hashlib.blake2b(seed.to_bytes(4, "little"), digest_size=8)
    digest.update(image.cpu().contiguous().numpy().tobytes())
    return Generator().manual_seed(int.from_bytes(digest.digest(), "little") >> 1)
