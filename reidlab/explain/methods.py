"""What every method of attention maps has in common."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Computed", "Method", "by_maximum"]


class Computed(NamedTuple):
    """Maps [batch, row, column] as a method gives them, and the layers that they are from."""

    maps: Tensor
    layer: str


class Method:
    """A method of attention maps.

    A subclass sets what it needs in `lacks` and computes maps in `compute`. Options are arguments of `__init__`.

    Attributes:
        takes_layer: a layer may be chosen.
        takes_target: its maps depend on a target.
        needs_layers: the model must have layers that give maps.
    """

    takes_layer = True
    takes_target = False
    needs_layers = True

    def lacks(self, model: nn.Module) -> str:
        """Return what the model has not that the method needs: "it has no ..."; "" where it works."""
        raise NotImplementedError

    def compute(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch 3 height width"],
        layer: str,
        target: Float[Tensor, "batch dim"] | None,
    ) -> Computed:
        """Return maps, from 0 to 1.

        Args:
            model: in evaluation and frozen (`evaluated`).
            images: as the model takes them.
            layer: a name, "" for the method's own choice.
            target: unit vectors whose cosine to the embedding is explained; None: each image's own embedding.
        """
        raise NotImplementedError


def by_maximum(maps: Tensor) -> Tensor:
    """Divide each map by its highest value, so that zeros stay 0; maps without a positive value become 0."""
    maps = maps.clamp_min(0)
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-20)
