"""Take images as callers have them: uint8, torch or NumPy, one or many."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reidlab.errors import UserError, shown
from reidlab.explain.spatial import preprocess_of

__all__ = ["Images", "as_batch"]

Images = Tensor | np.ndarray


def as_batch(model: nn.Module, images: Any, *, most: int | None = None) -> Tensor:
    """Return images as uint8 [batch, 3, height, width], at least one.

    Args:
        model: that will see them.
        images: uint8 [batch, 3, height, width], or one image [3, height, width].
        most: images that are allowed at most.

    Raises:
        UserError: other shapes or types, no image, too many, or a model that takes no images.
    """
    preprocess_of(model)
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.ascontiguousarray(images)) if images.dtype == np.uint8 else images
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        what = f"{images.dtype} {list(images.shape)}" if hasattr(images, "dtype") else shown(images)
        raise UserError(f"images must be uint8 [batch, 3, height, width], not {what}.")
    batch = images[None] if images.ndim == 3 else images
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.numel():
        raise UserError(f"images must be uint8 [batch, 3, height, width], not {list(images.shape)}.")
    if most is not None and len(batch) > most:
        raise UserError(f"{len(batch)} images are given where {most} is wanted.")
    return batch
