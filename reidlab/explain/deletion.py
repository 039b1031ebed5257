"""Deletion and insertion curves: does the similarity hang on what a map marks?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor, nn

from reidlab.errors import UserError, nearest, shown
from reidlab.explain.images import Images, as_batch
from reidlab.explain.maps import resized, unit_vectors
from reidlab.explain.spatial import preprocess_of
from reidlab.explain.untouched import device_of, evaluated

__all__ = ["FILLS", "Curves", "deletion_insertion"]

FILLS = ("blur", "mean")
_KINDS = ("deletion", "insertion")
_BLUR = 10  # of the image's height: the standard deviation of the blur is a tenth of it


@dataclass(frozen=True, eq=False)
class Curves:
    """Similarities while images lose, or regain, what maps mark.

    Attributes:
        shares: [step], share of the pixels that were changed, from 0 to 1.
        deletion: [image, step], cosine to the reference with the highest places of the map removed.
        insertion: [image, step], cosine with only the highest places of the map there.
    """

    shares: Float32[np.ndarray, " step"]
    deletion: Float32[np.ndarray, "image step"]
    insertion: Float32[np.ndarray, "image step"]

    def areas(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return the area under each curve [image]: a good map's is low for deletion and high for insertion."""
        return {name: np.trapezoid(getattr(self, name), self.shares, axis=1).astype(np.float64) for name in _KINDS}


def deletion_insertion(
    model: nn.Module,
    images: Images,
    maps: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    steps: int = 8,
    fill: Literal["blur", "mean"] = "blur",
    batch_size: int = 64,
) -> Curves:
    """Remove, and put back, the pixels of each image in the order of its map, and follow the cosine to a reference.

    Petsiuk et al., "RISE" (BMVC 2018), with a cosine in the place of a class's probability. What stands in the place of
    removed pixels is far from any photograph, so that a curve also measures how the model takes such images: compare
    maps by it, not models, and always with a random map beside.

    Args:
        model: of this workbook; it stays as it is.
        images: uint8 [image, 3, height, width].
        maps: [image, row, column], one for each image, brought to its size smoothly.
        reference: vectors [dim] or [image, dim] whose cosine to the embedding is followed.
        steps: pixels are changed in this many equal portions; curves have one point more.
        fill: what stands in the place of removed pixels: the image "blur"red beyond recognition, or its "mean" colour.
        batch_size: images at once.

    Raises:
        UserError: shapes that do not fit, no step, another fill.
    """
    batch = as_batch(model, images)
    if fill not in FILLS:
        raise UserError(f"fill={fill!r} is unknown; choose from {', '.join(FILLS)}.{nearest(str(fill), FILLS)}")
    if not isinstance(steps, int) or steps < 1:
        raise UserError(f"steps={shown(steps)} must be a whole number of 1 or more.")
    given = np.asarray(maps, dtype=np.float32)
    if given.ndim != 3 or len(given) != len(batch) or not np.isfinite(given).all():
        raise UserError(
            f"maps must be finite [{len(batch)}, row, column], one for each image, not {list(given.shape)}."
        )
    wanted = unit_vectors("reference", reference, len(batch), model)
    preprocess, device = preprocess_of(model), device_of(model)
    # at the model's own size, so that a step removes the same share of what it sees
    pixels = _at_size(batch, (preprocess.height, preprocess.width))
    ranks = _ranks(torch.from_numpy(resized(given, (preprocess.height, preprocess.width))))
    rows: list[Tensor] = []
    with evaluated(model), torch.no_grad():
        for start in range(0, len(pixels), batch_size):
            some = slice(start, start + batch_size)
            clean, other = pixels[some].float(), _filled(pixels[some].float(), fill)
            found = []
            for step in range(steps + 1):
                gone = (ranks[some] < step / steps)[:, None]
                for one, two in ((other, clean), (clean, other)):
                    mixed = torch.where(gone, one, two).round().clamp(0, 255).byte()
                    embedded = model(preprocess(mixed.to(device))).float().cpu()
                    found.append((F.normalize(embedded, dim=1) * wanted[some]).sum(1))
            rows.append(torch.stack(found, 1).unflatten(1, (steps + 1, 2)))
    curves = torch.cat(rows).numpy()
    return Curves(np.linspace(0, 1, steps + 1, dtype=np.float32), curves[:, :, 0], curves[:, :, 1])


def _at_size(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize uint8 images as the model's preprocessing would."""
    if tuple(images.shape[-2:]) == size:
        return images
    grown = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return grown.round().clamp(0, 255).byte()


def _ranks(maps: Tensor) -> Tensor:
    """Return where each pixel stands in the order of its map, from 0 (highest) to just below 1; ties by position."""
    flat = maps.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(flat.shape[1]).expand_as(order).float() / flat.shape[1]
    return torch.empty_like(flat).scatter_(1, order, places).view_as(maps)


def _filled(pixels: Tensor, fill: str) -> Tensor:
    """Return what stands in the place of removed pixels, float [batch, 3, height, width]."""
    if fill == "mean":
        return pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    spread = pixels.shape[2] / _BLUR
    reach = int(3 * spread)
    weights = torch.exp(-((torch.arange(-reach, reach + 1) / spread) ** 2) / 2)
    weights = (weights / weights.sum()).expand(3, 1, 1, -1)
    for kernel in (weights, weights.transpose(2, 3)):
        high, wide = kernel.shape[2] // 2, kernel.shape[3] // 2
        # edges repeated, for mirrored ones need an image larger than the kernel
        pixels = F.conv2d(F.pad(pixels, (wide, wide, high, high), mode="replicate"), kernel, groups=3)
    return pixels
