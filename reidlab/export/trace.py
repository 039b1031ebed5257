"""Trace a model for torch's ONNX exporter, and work around what that exporter does not support."""

from __future__ import annotations

import keyword
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess

__all__ = ["WithPreprocess", "trace"]

_MAX_POOL = torch.ops.aten.adaptive_max_pool2d.default


class WithPreprocess(nn.Module):
    """The model behind its own scaling and normalisation of uint8 pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(preprocess.std).view(1, 3, 1, 1) * 255)

    def forward(self, images: Tensor) -> Tensor:
        """Embed uint8 [batch, height, width, 3]."""
        # contiguous means nothing to ONNX; without it torch pools by strides, which no runtime likes
        pixels = images.permute(0, 3, 1, 2).float().contiguous()
        return self.model((pixels - self.mean) / self.std)


def trace(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Trace a model in eval mode for a batch of any size.

    Args:
        model: takes one tensor [batch, ...].
        example: of two images or more; one would be taken for a constant.
    """
    traced = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
    _rename_keywords(traced)
    if any(node.target is _MAX_POOL for node in traced.graph.nodes):
        traced = traced.run_decompositions({_MAX_POOL: _adaptive_max_pool})
    return traced


def _rename_keywords(traced: Any) -> None:
    """Rename parameters: the exporter writes Python that has `necks.global.weight` in it, which is none."""
    for spec in traced.graph_signature.input_specs:
        if spec.target and any(map(keyword.iskeyword, spec.target.split("."))):
            old, spec.target = spec.target, spec.target.replace(".", "_")
            for holder in (traced.state_dict, traced.constants):
                if old in holder:
                    holder[spec.target] = holder.pop(old)


def _adaptive_max_pool(maps: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
    """Take the maxima of windows one after the other; the exporter does not know the operator.

    Args:
        maps: [batch, channel, height, width].
        size: windows down and across; window i of n covers floor(i h / n) up to ceil((i + 1) h / n).
    """
    for axis, n in zip((2, 3), size):
        length = maps.shape[axis]
        windows = [(i * length // n, -(-(i + 1) * length // n)) for i in range(n)]
        maps = torch.stack([maps.narrow(axis, start, end - start).amax(axis) for start, end in windows], dim=axis)
    return maps, torch.zeros_like(maps, dtype=torch.int64)  # where the maxima lie: nobody asks
