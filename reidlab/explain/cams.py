"""Class activation maps of the package grad-cam, with a cosine in the place of a class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.explain.held import HeldLengths
from reidlab.explain.methods import Computed, Method
from reidlab.explain.spatial import as_maps, default_layer, find_layer, grid_of, layers

__all__ = ["Cam"]

_SCALE = 1e3  # the package adds 1e-7 to what it divides by, near which slopes may lie


class Cam(Method):
    """A map of the Grad-CAM family: features of a layer weighted by what they add to a cosine.

    The target is the cosine of the embedding to a reference. Its length is held, as otherwise the cosine of an image to
    its own embedding would have no slope: it is 1 whatever the image. Each map is brought to 0 to 1 by its lowest and
    highest value, as the package grad-cam does.

    Args:
        kind: class of the package grad-cam.
        smooth: take the first principal component of the weighted features, which has less noise ("eigen_smooth" of the
            package).
    """

    takes_target = True

    def __init__(self, kind: str = "GradCAM", smooth: bool = False) -> None:
        self.kind, self.smooth = kind, smooth

    def lacks(self, model: nn.Module) -> str:
        """Nothing: a model that has layers at all is enough."""
        return ""

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return maps of one layer."""
        names = [find_layer(model, layer)] if layer else _from_the_end(model)
        for name in names:
            maps = self._of(model, images, name, target)
            if maps is not None:
                return Computed(maps, name)
        raise UserError(
            f"layer={names[0]!r} has no part in the embedding: the cosine has no slope there. Take an earlier layer of "
            "`explain.layers(model)`."
        )

    def _of(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Tensor | None:
        """Return the maps of a layer [batch, row, column]; None where no gradient reaches it."""
        import pytorch_grad_cam

        size = (int(images.shape[2]), int(images.shape[3]))
        grid = grid_of(model, size)

        def reshaped(output: Tensor) -> Tensor:
            maps = as_maps(output, size, grid)
            if maps is None:
                raise UserError(f"layer={layer!r} gives no maps; `explain.layers(model)` lists those that do.")
            return maps

        with HeldLengths(), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # divisions by the sum of a map that is 0 everywhere
            kind: Any = getattr(pytorch_grad_cam, self.kind)
            cam = kind(model=model, target_layers=[model.get_submodule(layer)], reshape_transform=reshaped)
            try:
                cam.compute_input_gradient = True  # parameters are frozen: without it there is no graph
                cam.get_target_width_height = lambda _input: shape_of(cam)
                maps = cam(input_tensor=images, targets=_targets(len(images), target), eigen_smooth=self.smooth)
                slopes = cam.activations_and_grads.gradients
                reached = not cam.uses_gradients or any(bool(each.any()) for each in slopes)
            finally:
                cam.activations_and_grads.release()
        return torch.from_numpy(np.nan_to_num(maps)) if reached else None


def shape_of(cam: Any) -> tuple[int, int]:
    """Return width and height of the layer's own maps, so that they are not enlarged."""
    rows, columns = cam.activations_and_grads.activations[-1].shape[2:]
    return int(columns), int(rows)


def _targets(count: int, target: Tensor | None) -> list[Callable[[Tensor], Tensor]]:
    """Return what grad-cam asks of each image's embedding: its product with the reference."""
    if target is None:
        return [lambda embedding: _SCALE * embedding @ embedding.detach()] * count
    return [partial(_product, one) for one in target]


def _product(reference: Tensor, embedding: Tensor) -> Tensor:
    return _SCALE * embedding @ reference


def _from_the_end(model: nn.Module) -> list[str]:
    """Return the layers to try: the default one, then those before it."""
    names = list(layers(model))
    last = names.index(default_layer(model))
    return names[last::-1]
