"""Where pixels go: resizing, mirroring and crops."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from reidlab.data.transforms.draws import Rectangle, check_batch, check_range, chosen, positions, uniform
from reidlab.data.transforms.library import functional
from reidlab.errors import UserError

__all__ = ["random_2d_translation", "random_crop", "random_flip", "random_resized_crop", "resize", "shifted"]


def resize(images: Tensor, generator: Generator, *, size: tuple[int, int]) -> Tensor:
    """Resize all images, bilinear with antialiasing; nothing is drawn.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        size: (height, width) that comes out.
    """
    check_batch(images, generator)
    return _resized(images, _checked(size))


def random_flip(images: Tensor, generator: Generator, *, p: float = 0.5) -> Tensor:
    """Mirror each image left-right with probability `p`.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
    """
    check_batch(images, generator)
    out = images.clone()
    for i in chosen(len(images), p, generator):
        out[i] = images[i].flip(2)
    return out


def random_crop(images: Tensor, generator: Generator, *, padding: int = 10) -> Tensor:
    """Pad with black on all sides and cut the original size out at a random place.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        padding: pixels on each side.
    """
    check_batch(images, generator)
    if padding < 0:
        raise UserError(f"padding={padding} must be 0 or more pixels.")
    n = len(images)
    down = (torch.randint(0, 2 * padding + 1, (n,), generator=generator) - padding).tolist()
    right = (torch.randint(0, 2 * padding + 1, (n,), generator=generator) - padding).tolist()
    out = torch.empty_like(images)
    for i, (dy, dx) in enumerate(zip(down, right)):
        out[i] = shifted(images[i], dy, dx)
    return out


def random_2d_translation(
    images: Tensor, generator: Generator, *, p: float = 0.5, size: tuple[int, int] | None = None
) -> Tensor:
    """With probability `p` resize to 1.125 x height and width and cut the size out at a random place; else resize.

    Torchreid's transform; there the outermost places are half as likely as the others, here all are alike.

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        p: probability in [0, 1].
        size: (height, width) that comes out; None: that of the images.
    """
    check_batch(images, generator)
    height, width = _checked(size) if size is not None else images.shape[-2:]
    tall, wide = round(1.125 * height), round(1.125 * width)
    used, n = chosen(len(images), p, generator), len(images)
    top = positions(torch.full((n,), tall - height), generator)
    left = positions(torch.full((n,), wide - width), generator)
    out = _resized(images, (height, width))
    if used:
        for i, large in zip(used, _resized(images[used], (tall, wide))):
            out[i] = Rectangle(top[i], left[i], height, width).of(large)
    return out


def random_resized_crop(
    images: Tensor,
    generator: Generator,
    *,
    scale: tuple[float, float] = (0.5, 1.0),
    ratio: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Cut a random part out of each image and resize it (torchvision's RandomResizedCrop, drawn for each image).

    Args:
        images: uint8 [batch, 3, height, width].
        generator: source of the draws, on the CPU.
        scale: the part's share of the image's area, uniform between the two.
        ratio: width over height of the part, log-uniform between the two; None: 3/4 to 4/3 of the image's own.
            (torchvision's 3/4 to 4/3 as such would cut the head or the feet off every standing person.)
        size: (height, width) that comes out; None: that of the images.
    """
    check_batch(images, generator)
    check_range("scale", scale, 0, 1)
    n, _, height, width = images.shape
    ratio = ratio if ratio is not None else (0.75 * width / height, width / height / 0.75)
    check_range("ratio", ratio, 1e-6, 1e6)
    out_size = _checked(size) if size is not None else (height, width)
    out = torch.empty(n, 3, *out_size, dtype=torch.uint8, device=images.device, memory_format=torch.channels_last)
    for i, part in enumerate(_parts(n, height, width, scale, ratio, generator)):
        out[i] = _resized(part.of(images[i])[None], out_size)[0]
    return out


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Look at [..., height, width] through a window moved by so many pixels; what lies outside is black."""
    height, width = images.shape[-2:]
    kept = max(height - abs(down), 0), max(width - abs(right), 0)
    out = torch.zeros_like(images)
    Rectangle(max(-down, 0), max(-right, 0), *kept).of(out)[:] = Rectangle(max(down, 0), max(right, 0), *kept).of(
        images
    )
    return out


def _parts(
    n: int, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], generator: Generator
) -> list[Rectangle]:
    """Draw up to ten shapes for each image; where none fits take the largest central one of an allowed shape."""
    share = uniform((n, 10), *scale, generator) * height * width
    shape = uniform((n, 10), math.log(ratio[0]), math.log(ratio[1]), generator).exp()
    tall, wide = (share / shape).sqrt().round().long(), (share * shape).sqrt().round().long()
    fits = (tall > 0) & (wide > 0) & (tall <= height) & (wide <= width)
    first = fits.float().argmax(dim=1, keepdim=True)
    found = fits.any(dim=1).tolist()
    tall, wide = tall.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
    top, left = positions((height - tall).clamp(min=0), generator), positions((width - wide).clamp(min=0), generator)
    high, broad = min(height, max(1, round(width / ratio[0]))), min(width, max(1, round(height * ratio[1])))
    centre = Rectangle((height - high) // 2, (width - broad) // 2, high, broad)
    return [Rectangle(top[i], left[i], int(tall[i]), int(wide[i])) if found[i] else centre for i in range(n)]


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize into a new tensor; torchvision returns its input where there is nothing to do."""
    if images.shape[-2:] == size:
        return images.clone()
    if not len(images):
        return images.new_empty(0, 3, *size)
    return functional().resize(images, list(size), antialias=True)


def _checked(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise UserError(f"size={tuple(size)} must be height and width, both 1 or more pixels.")
    return size[0], size[1]
