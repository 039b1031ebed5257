"""Activation maps: where the features of a layer are strong."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.explain.methods import Computed, Method, by_maximum
from reidlab.explain.spatial import as_maps, find_layer, grid_of
from reidlab.explain.untouched import outputs_of

__all__ = ["Activation", "maps_of"]


class Activation(Method):
    """The strength of the features at each location of a layer, divided by the highest (Zagoruyko and Komodakis 2017).

    It needs no gradient and no target, and says where a layer responds, not what the response is good for.

    Args:
        power: mean over channels of the features' absolute values ("abs") or squares ("square").
    """

    def __init__(self, power: Literal["square", "abs"] = "square") -> None:
        self.power = power

    def lacks(self, model: nn.Module) -> str:
        """Nothing: a model that has layers at all is enough."""
        return ""

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return maps of one layer."""
        layer = find_layer(model, layer)
        maps = maps_of(model, images, layer)
        strength = maps.square() if self.power == "square" else maps.abs()
        return Computed(by_maximum(strength.mean(1)), layer)


def maps_of(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """Return a layer's maps [batch, channel, row, column].

    Raises:
        UserError: the layer gives none for such images.
    """
    with torch.no_grad(), outputs_of({layer: model.get_submodule(layer)}) as found:
        model(images)
    size = (int(images.shape[2]), int(images.shape[3]))
    given = [as_maps(output, size, grid_of(model, size)) for output in found[layer]]
    maps = [each for each in given if each is not None]
    if not maps:
        raise UserError(f"layer={layer!r} gives no maps; `explain.layers(model)` lists those that do.")
    return maps[-1]
