"""Models with horizontal stripes: how strongly each of them responds."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.explain.activation import maps_of
from reidlab.explain.methods import Computed, Method, by_maximum
from reidlab.explain.untouched import outputs_of
from reidlab.models.families.custom_cnn import N_PARTS
from reidlab.models.families.custom_cnn_reid import CustomCNNReID
from reidlab.models.families.lightmbn import LightMBN
from reidlab.models.parts.pooling import StripePooling

__all__ = ["Parts"]

_ROWS = 48  # of the maps: a multiple of 2, 3, 4, 6 and 8 stripes


class Parts(Method):
    """The strength of each horizontal stripe that a model pools, as bands: the length of its pooled features.

    Each of the model's poolings of stripes is divided by its strongest stripe; several (MGN: halves and thirds) are
    averaged. For PCB, MGN, FPB, PLR-OSNet, LightMBN (halves), the custom CNN (six) and any model with pooling stripes.
    """

    takes_layer = False

    def lacks(self, model: nn.Module) -> str:
        """Return that there are no stripes."""
        return "" if _poolings(model) or _halves(model) or _six(model) else "it pools no horizontal stripes"

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return bands [batch, row, column]."""
        names, lengths = self._lengths(model, images)
        bands = [each / each.amax(1, keepdim=True).clamp_min(1e-20) for each in lengths]
        tall = [F.interpolate(each[:, None], size=_ROWS, mode="nearest-exact")[:, 0] for each in bands]
        mean = torch.stack(tall).mean(0)  # [batch, row]
        return Computed(by_maximum(mean[:, :, None].expand(-1, -1, _ROWS // 2)), names)

    def _lengths(self, model: Any, images: Tensor) -> tuple[str, list[Tensor]]:
        """Return where the stripes are pooled, and for each pooling the lengths of its features [batch, part]."""
        if _six(model):
            maps = maps_of(model, images, "network.cbam5")
            pooled = F.adaptive_max_pool2d(maps, (N_PARTS, 1)).squeeze(3)
            return "network.part_heads", [pooled.norm(dim=1)]
        if _halves(model):
            with torch.no_grad(), outputs_of({name: model.pools[name] for name in ("p1", "p2")}) as found:
                model(images)
            return "pools.p1, pools.p2", [torch.stack([found[name][0].norm(dim=1) for name in ("p1", "p2")], 1)]
        poolings = _poolings(model)
        with torch.no_grad(), outputs_of(poolings) as found:
            model(images)
        return ", ".join(poolings), [found[name][0].norm(dim=1) for name in poolings]


def _poolings(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, StripePooling)}


def _halves(model: nn.Module) -> bool:
    return isinstance(model, LightMBN)


def _six(model: nn.Module) -> bool:
    return isinstance(model, CustomCNNReID) and len(model.network.part_heads) > 0
