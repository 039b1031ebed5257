"""Attention blocks that show where they look: spatial and channel gates, and attention between positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.explain.methods import Computed, Method, by_maximum
from reidlab.explain.untouched import outputs_of
from reidlab.models.families.custom_cnn import CBAM
from reidlab.models.families.osnet import ChannelGate
from reidlab.models.parts.attention.blocks import PositionAttention

__all__ = ["ChannelGates", "PositionMaps", "SpatialGates", "channel_gates", "chosen", "spatial_gates"]


def spatial_gates(model: nn.Module) -> dict[str, nn.Module]:
    """Return the CBAM blocks by name: those with a spatial gate."""
    return {name: module for name, module in model.named_modules() if _spatial(module) is not None}


def channel_gates(model: nn.Module, kind: str) -> dict[str, nn.Module]:
    """Return the blocks with channel gates by name.

    Args:
        model: any.
        kind: "cbam" or "squeeze_excite" (all others that gate channels by one number an image).
    """
    inside = tuple(f"{name}." for name in spatial_gates(model))
    if kind == "cbam":
        return spatial_gates(model)
    return {
        name: module
        for name, module in model.named_modules()
        if _gate_of_channels(module) is not None and not f"{name}.".startswith(inside or "\0")
    }


def _spatial(module: nn.Module) -> nn.Module | None:
    """Return what gives the spatial gate [batch, 1, row, column] of a CBAM block; None for other modules."""
    if isinstance(module, CBAM):
        return module.spatial_attention
    if type(module).__name__ in ("CbamModule", "LightCbamModule"):  # of timm
        gate: nn.Module = module.spatial.gate  # type: ignore[assignment, union-attr]
        return gate
    return None


def _gate_of_channels(module: nn.Module) -> nn.Module | None:
    """Return what gives the gate [batch, channel, 1, 1] of a block, perhaps before its sigmoid; None for others."""
    if isinstance(module, CBAM):
        return module.channel_attention
    if isinstance(module, ChannelGate):
        return module.fc2
    kind = type(module).__name__
    if kind == "CbamModule":
        gate: nn.Module = module.channel.gate  # type: ignore[assignment, union-attr]
        return gate
    known = ("SEModule", "EffectiveSEModule", "SqueezeExcite", "GlobalContext", "ChannelAttn", "EcaModule")
    found = getattr(module, "gate", None)
    return found if kind in known and isinstance(found, nn.Module) else None


class SpatialGates(Method):
    """The spatial gate of a CBAM block as it is, from 0 to 1: what each location is multiplied by (Woo et al. 2018)."""

    def lacks(self, model: nn.Module) -> str:
        """Return that there is no CBAM block."""
        return "" if spatial_gates(model) else "it has no CBAM block"

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return the gate of one block."""
        name, block = chosen(spatial_gates(model), layer)
        gate = _spatial(block)
        assert gate is not None
        with torch.no_grad(), outputs_of({name: gate}) as found:
            model(images)
        return Computed(found[name][-1][:, 0], name)


class ChannelGates(Method):
    """The maps that enter a block weighted by its channel gates: the mean over channels of gate times strength.

    A gate of channels has no locations of its own; its map shows where the channels that it lets pass are strong.

    Args:
        kind: blocks of CBAM, or squeeze-and-excitation and its kin ("squeeze_excite").
    """

    def __init__(self, kind: Literal["cbam", "squeeze_excite"] = "cbam") -> None:
        self.kind = kind

    def lacks(self, model: nn.Module) -> str:
        """Return that there is no such block."""
        what = "CBAM block" if self.kind == "cbam" else "squeeze-and-excitation block or other gate of channels"
        return "" if channel_gates(model, self.kind) else f"it has no {what}"

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return the weighted maps of one block."""
        name, block = chosen(channel_gates(model, self.kind), layer)
        gate = _gate_of_channels(block)
        assert gate is not None
        inputs: list[Tensor] = []
        handle = block.register_forward_pre_hook(lambda _module, given: inputs.append(given[0].detach().clone()))
        try:
            with torch.no_grad(), outputs_of({name: gate}) as found:
                model(images)
        finally:
            handle.remove()
        gates = found[name][-len(inputs) :]
        if isinstance(block, ChannelGate):  # its sigmoid is no module
            gates = [each.sigmoid() for each in gates]
        maps = torch.stack([(one * each.abs()).mean(1) for one, each in zip(gates, inputs)]).mean(0)
        return Computed(by_maximum(maps), name)


class PositionMaps(Method):
    """How much the other positions take from each position: the mean over rows of a block's attention matrix.

    For position attention (PAM; Fu et al. 2019) and for the one map of a global context block (Cao et al. 2019).
    Divided by the highest value.
    """

    def lacks(self, model: nn.Module) -> str:
        """Return that there is no such block."""
        return "" if dict(_between(model)) else "it has no position attention or global context block"

    def compute(self, model: nn.Module, images: Tensor, layer: str, target: Tensor | None) -> Computed:
        """Return the map of one block."""
        name, block = chosen(dict(_between(model)), layer)

        def read(module: Any, inputs: tuple[Any, ...], _output: Any) -> Tensor:
            maps = inputs[0]
            if isinstance(module, PositionAttention):
                return module.attention_map(maps).mean(1).unflatten(1, maps.shape[2:])
            return module.conv_attn(maps).flatten(1).softmax(1).unflatten(1, maps.shape[2:])

        with torch.no_grad(), outputs_of({name: block}, read) as found:
            model(images)
        return Computed(by_maximum(found[name][-1]), name)


def _between(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        context = type(module).__name__ == "GlobalContext" and getattr(module, "conv_attn", None) is not None
        if isinstance(module, PositionAttention) or context:
            yield name, module


def chosen(blocks: Mapping[str, nn.Module], layer: str) -> tuple[str, nn.Module]:
    """Return a block by its name or the end of it ("cbam4"), the last one for "".

    Raises:
        UserError: no or several blocks of this name.
    """
    if not layer:
        return list(blocks.items())[-1]
    fits = [name for name in blocks if name == layer or name.endswith(f".{layer}") or name.startswith(f"{layer}.")]
    if len(fits) == 1 or layer in blocks:
        name = layer if layer in blocks else fits[0]
        return name, blocks[name]
    which = "is any of" if fits else "has no gate; they are in"
    raise UserError(f"layer={layer!r} {which} {', '.join(fits or blocks)}.")
