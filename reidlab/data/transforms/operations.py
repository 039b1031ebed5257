"""The fourteen named operations that AutoAugment and its successors draw from, each exactly as torchvision defines it.

Images that drew the same operation and magnitude form a group. Torchvision's kernels do the work where they are fast;
where they are not, the same result comes another way:

- Translation copies a part. Shear and rotation (nearest pixel): torchvision moves one image of pixel numbers, once for
  each magnitude and size (kept), and the images of a group are then gathered by these numbers.
- AutoContrast, Equalize and Solarize are tables of 256 levels, applied in one look-up.
- Sharpness blurs in whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from reidlab.data.transforms.geometry import shifted
from reidlab.data.transforms.library import functional
from reidlab.devices import outside_autocast

__all__ = ["MOVES", "OPERATIONS", "apply_operations", "portions"]

MOVES = ("ShearX", "ShearY", "Rotate")


def apply_operations(images: Tensor, drawn: Sequence[tuple[str, float] | None], *, smooth: bool = False) -> Tensor:
    """Return new images, each changed by its own operation and magnitude; None and "Identity" leave it.

    Args:
        images: uint8 [batch, 3, height, width].
        drawn: one (operation, magnitude) for each image, magnitudes as torchvision's.
        smooth: shear and rotate bilinearly instead of taking the nearest pixel (translations are whole pixels).
    """
    groups: dict[tuple[str, float], list[int]] = {}
    for i, draw in enumerate(drawn):
        if draw is not None and draw[0] != "Identity":
            groups.setdefault(draw, []).append(i)
    out = images.clone(memory_format=torch.channels_last)
    for (name, magnitude), members in groups.items():
        for part in portions(members, images.device):
            operation = OPERATIONS.get(name) or partial(_move if smooth else _gather, name=name)
            out[part] = operation(out[part], magnitude)
    return out


def portions(members: list[int], device: torch.device) -> Iterator[slice | list[int]]:
    """Cut a group into what is worked on at once: an image on the CPU, where it fits into the cache; else all."""
    if device.type == "cpu":
        yield from (slice(i, i + 1) for i in members)
    else:
        yield members


def _move(images: Tensor, magnitude: float, name: str, mode: str = "bilinear") -> Tensor:
    """Shear about the upper left corner (magnitude: tangent) or rotate about the centre (degrees); black outside."""
    # torchvision 0.26 takes no names here
    from torchvision.transforms import InterpolationMode

    interpolation = InterpolationMode(mode)
    if name == "Rotate":
        return functional().rotate(images, magnitude, interpolation=interpolation)
    angle = math.degrees(math.atan(magnitude))
    shear = [angle, 0] if name == "ShearX" else [0, angle]
    return functional().affine(
        images, angle=0, translate=[0, 0], scale=1, shear=shear, interpolation=interpolation, center=[0, 0]
    )


@lru_cache(maxsize=256)
def _sources(name: str, magnitude: float, height: int, width: int) -> Tensor:
    """Number of the pixel that comes to each place, counted from 1; 0 is outside: int32 [height * width]."""
    numbers = torch.arange(1, height * width + 1, dtype=torch.float32).view(1, height, width)  # exact below 2**24
    with outside_autocast("cpu"):  # numbers in bfloat16 would be kept for everybody
        return _move(numbers, magnitude, name, "nearest").to(torch.int32).flatten()


def _gather(images: Tensor, magnitude: float, name: str) -> Tensor:
    """Shear or rotate, each place taking the nearest pixel."""
    n, _, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).reshape(n, height * width, 3)
    with_black = torch.cat([pixels.new_zeros(n, 1, 3), pixels], dim=1)
    sources = _sources(name, magnitude, height, width).to(images.device)
    return with_black.index_select(1, sources).view(n, height, width, 3).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _channel_starts(pixels: int) -> Tensor:
    """First level of every pixel's channel, written out: adding it is four times faster than broadcasting."""
    return (256 * torch.arange(3, dtype=torch.int32)).repeat(pixels)


def _levels(images: Tensor) -> Tensor:
    """Number every image's and channel's 256 levels one after another: int32 [batch, height * width * 3]."""
    n, _, height, width = images.shape
    levels = images.permute(0, 2, 3, 1).to(torch.int32).reshape(n, -1)
    levels += _channel_starts(height * width).to(images.device)
    return levels.add_(768 * torch.arange(n, dtype=torch.int32, device=images.device)[:, None]) if n > 1 else levels


def _look_up(levels: Tensor, tables: Tensor, shape: torch.Size) -> Tensor:
    """Map levels through the uint8 tables, one after another: uint8 of `shape` [batch, 3, height, width]."""
    n, _, height, width = shape
    return tables.flatten().index_select(0, levels.flatten()).view(n, height, width, 3).permute(0, 3, 1, 2)


def _histograms(levels: Tensor) -> Tensor:
    """Count the pixels of each level: int64 [batch * 3, 256]."""
    return torch.bincount(levels.flatten(), minlength=768 * len(levels)).view(-1, 256)


def _auto_contrast(images: Tensor, _magnitude: float) -> Tensor:
    levels = _levels(images)
    present = (_histograms(levels) > 0).to(torch.int32)
    darkest = present.argmax(dim=1, keepdim=True)
    brightest = 255 - present.flip(1).argmax(dim=1, keepdim=True)
    ramp = torch.arange(256, device=images.device).maximum(darkest).minimum(brightest).to(torch.uint8)
    return _look_up(levels, functional().autocontrast(ramp.view(-1, 3, 1, 256)), images.shape)


def _equalize(images: Tensor, _magnitude: float) -> Tensor:
    """Spread the levels evenly, as Pillow does: in steps of a 255th of the pixels below the brightest level."""
    levels = _levels(images)
    histograms = _histograms(levels)
    below = histograms.cumsum(1)
    brightest = 255 - (histograms > 0).flip(1).to(torch.int32).argmax(dim=1, keepdim=True)
    step = (below[:, -1:] - histograms.gather(1, brightest)) // 255
    tables = ((below - histograms + step // 2) // step.clamp(min=1)).clamp(0, 255)
    identity = torch.arange(256, device=images.device)
    return _look_up(levels, torch.where(step > 0, tables, identity).to(torch.uint8), images.shape)


def _solarize(images: Tensor, magnitude: float) -> Tensor:
    table = functional().solarize(torch.arange(256, dtype=torch.uint8, device=images.device), 255.0 * magnitude)
    levels = images.permute(0, 2, 3, 1).to(torch.int32)
    return _look_up(levels, table, images.shape)


def _sharpen(images: Tensor, magnitude: float) -> Tensor:
    """Blend with the image blurred by [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13; the outermost pixels stay."""
    if min(images.shape[-2:]) <= 2:
        return images
    whole = images.to(torch.int16)
    rows = whole[..., :-2, :] + whole[..., 1:-1, :] + whole[..., 2:, :]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * whole[..., 1:-1, 1:-1]
    out = images.to(torch.float32)
    inner = out[..., 1:-1, 1:-1]
    inner.add_(sums.to(torch.float32).div_(13).round_().sub_(inner), alpha=1 - (1 + magnitude))
    return out.clamp_(0, 255).to(torch.uint8)


OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "TranslateX": lambda images, magnitude: shifted(images, 0, -int(magnitude)),
    "TranslateY": lambda images, magnitude: shifted(images, -int(magnitude), 0),
    "Brightness": lambda images, magnitude: functional().adjust_brightness(images, 1 + magnitude),
    "Color": lambda images, magnitude: functional().adjust_saturation(images, 1 + magnitude),
    "Contrast": lambda images, magnitude: functional().adjust_contrast(images, 1 + magnitude),
    "Sharpness": _sharpen,
    "Posterize": lambda images, magnitude: functional().posterize(images, int(magnitude)),
    "Solarize": _solarize,
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": lambda images, _magnitude: functional().invert(images),
}
