"""What stands before a person."""

from __future__ import annotations

import math

from jaxtyping import UInt8
from torch import Generator, Tensor

from reidlab.data.transforms.corruptions.severities import of_severity
from reidlab.data.transforms.draws import Rectangle, check_batch, uniform

__all__ = ["occlusion"]

_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the image's area; our own
_STRETCH = 0.7  # a block is at most e^0.7 = 2 times as tall, or as wide, as the image's own shape


def occlusion(
    images: UInt8[Tensor, "batch 3 height width"], generator: Generator, *, severity: int = 1
) -> UInt8[Tensor, "batch 3 height width"]:
    """Cover 10, 20, 30, 40 or 50 % of the image with a block of one colour.

    Shape, place and colour are drawn; the block of a higher severity lies around that of a lower one.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        severity: 1 (slight) to 5 (worst).
    """
    check_batch(images, generator)
    share = of_severity(_SHARES, severity)
    n, _, height, width = images.shape
    stretch = uniform((n,), -_STRETCH, _STRETCH, generator).exp().tolist()
    places = uniform((n, 2), 0, 1, generator).tolist()
    colours = uniform((n, 3, 1, 1), 40, 216, generator).byte().to(images.device)
    out = images.clone()
    for i in range(n):
        side = math.sqrt(share)
        tall = min(1.0, side * max(math.sqrt(stretch[i]), side))
        wide = share / tall
        rows, columns = max(1, round(tall * height)), max(1, round(wide * width))
        top, left = (round(at * room) for at, room in zip(places[i], (height - rows, width - columns), strict=True))
        Rectangle(top, left, rows, columns).of(out[i])[:] = colours[i]
    return out
