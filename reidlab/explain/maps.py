"""Attention maps of images by any method, in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor, nn

from reidlab.errors import UserError, shown
from reidlab.explain.images import Images, as_batch
from reidlab.explain.methods import Method
from reidlab.explain.spatial import layers, preprocess_of
from reidlab.explain.untouched import device_of, evaluated
from reidlab.registry import MAPS

__all__ = ["AttentionMaps", "attention_maps", "build_method", "methods_of", "resized", "unit_vectors"]


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Maps of some images.

    Attributes:
        maps: [image, row, column], from 0 to 1.
        method: registered name.
        layer: what they are from.
    """

    maps: Float32[np.ndarray, "image row column"]
    method: str
    layer: str

    def __len__(self) -> int:
        return len(self.maps)

    def resized(self, height: int, width: int) -> AttentionMaps:
        """Return the maps at another size, smoothly (bilinear), from 0 to 1 still."""
        if min(height, width) < 1:
            raise UserError(f"a size of {height} x {width} is no size of maps.")
        return replace(self, maps=resized(self.maps, (height, width)))


def resized(
    maps: Float32[np.ndarray, "image row column"], size: tuple[int, int]
) -> Float32[np.ndarray, "image height width"]:
    """Resize maps [image, row, column] bilinearly to (height, width)."""
    tensor = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32))[:, None]
    return F.interpolate(tensor, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()


def attention_maps(
    model: nn.Module,
    images: Images,
    method: str = "activation",
    layer: str = "",
    *,
    target: npt.ArrayLike | Tensor | None = None,
    options: Mapping[str, Any] | None = None,
    batch_size: int = 32,
) -> AttentionMaps:
    """Show what a model looked at in each image.

    Args:
        model: of this workbook; it stays as it is, down to modes and gradients.
        images: uint8 [batch, 3, height, width], torch or NumPy, of any size; or one image.
        method: registered name; `reidlab maps` lists them, `explain.methods_of(model)` those that the model has.
        layer: a name of `explain.layers(model)`, or the end of one; "" for the method's own choice, mostly the last.
        target: for methods with a target, vectors [dim] or [batch, dim] whose cosine to the embedding is explained,
            such as the mean of an identity or a query's embedding; None: each image's own embedding.
        options: of the method.
        batch_size: images at once.

    Returns:
        Maps in the layer's own size; `resized(height, width)` enlarges them.

    Raises:
        UserError: images of another form, an unknown method, layer or option, a method that does not fit the model
            (with those that do), a layer or target for a method that takes none, or vectors of another width.
    """
    batch = as_batch(model, images)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"batch_size={shown(batch_size)} must be a whole number of 1 or more.")
    how = build_method(method, options)
    lacking = _lacking(how, model)
    if lacking:
        raise UserError(
            f"method {method!r} does not show {type(model).__name__}: {lacking}. Those that do are "
            f"{', '.join(methods_of(model))}."
        )
    if layer and not how.takes_layer:
        raise UserError(f"layer={layer!r}: method {method!r} looks at the whole model; leave `layer` out.")
    if target is not None and not how.takes_target:
        raise UserError(f"method {method!r} has no target; leave `target` out, or take gradcam.")
    wanted = None if target is None else unit_vectors("target", target, len(batch), model)
    preprocess, device = preprocess_of(model), device_of(model)
    parts, at = [], layer
    with evaluated(model):
        for start in range(0, len(batch), batch_size):
            some = slice(start, start + batch_size)
            inputs = preprocess(batch[some].to(device))
            one = None if wanted is None else wanted[some].to(device)
            found = how.compute(model, inputs, at, one)
            parts.append(found.maps.detach().float().cpu())
            at = found.layer if how.takes_layer else at  # all batches show the same layer
    return AttentionMaps(torch.cat(parts).numpy(), method, found.layer)


def build_method(method: str, options: Mapping[str, Any] | None = None) -> Method:
    """Build a method by name.

    Raises:
        UserError: an unknown name or option.
    """
    made: Method = MAPS.build(method, options=options or {})
    return made


def methods_of(model: nn.Module) -> list[str]:
    """Return the names of the methods that a model has; every model has occlusion."""
    return [name for name in MAPS if not _lacking(build_method(name), model)]


def _lacking(how: Method, model: nn.Module) -> str:
    """Return what a model has not that a method needs."""
    if how.needs_layers:
        try:
            layers(model)
        except UserError:
            return "it has no layer that gives maps, only vectors"
    return how.lacks(model)


def unit_vectors(name: str, given: Any, count: int, model: nn.Module) -> Float32[Tensor, "image dim"]:
    """Return vectors [dim] or [count, dim] as unit vectors [count, dim].

    Raises:
        UserError: other shapes than the model's embeddings have, or values that are not finite; named `name`.
    """
    array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} must be vectors of numbers, not {shown(given)}.")
    vectors = torch.from_numpy(array.astype(np.float32))
    vectors = vectors.expand(count, -1) if vectors.ndim == 1 else vectors
    dim = int(getattr(model, "dim", vectors.shape[-1] if vectors.ndim else 0))
    if vectors.shape != (count, dim) or not bool(vectors.isfinite().all()):
        raise UserError(f"{name} must be finite vectors [{dim}] or [{count}, {dim}], not {list(array.shape)}.")
    return F.normalize(vectors, dim=1)
