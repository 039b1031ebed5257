"""Write a model in ONNX's operators: traced for torch's exporter, around what that exporter does not support."""

from __future__ import annotations

import keyword
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError

__all__ = ["LOWEST_OPSET", "WithPreprocess", "onnx_program", "trace"]

LOWEST_OPSET = 18  # torch's exporter is written in it, and cannot convert everything down
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


def onnx_program(model: nn.Module, how: Preprocess, *, inside: bool = True, opset: int = LOWEST_OPSET) -> Any:
    """Trace a model for a batch of any size and return it as torch's exporter writes it (packages onnx, onnxscript).

    Args:
        model: gives embeddings, in eval mode, float32 on the CPU in plain memory format.
        how: its pre-processing.
        inside: whether the graph takes uint8 [batch, height, width, 3] and normalises, or float32 [batch, 3, height,
            width] that is normalised already. Its output is `embeddings` float32 [batch, dim] either way.
        opset: of ONNX.

    Raises:
        UserError: the exporter does not manage this model.
    """
    # two images: of one, the exporter would take the batch for a constant
    size = (2, how.height, how.width, 3) if inside else (2, 3, how.height, how.width)
    example = torch.zeros(size, dtype=torch.uint8 if inside else torch.float32)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch about itself
            traced = trace(WithPreprocess(model, how).eval() if inside else model, example)
            return torch.onnx.export(
                traced,
                input_names=["images"],
                output_names=["embeddings"],
                dynamic_shapes=({0: "batch"},),  # the name, instead of the tracer's own
                opset_version=opset,
                verbose=False,
            )
    except Exception as error:  # the tracer runs the model's own code, which may raise anything
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"{type(model).__name__} cannot be exported ({type(error).__name__}: {reason}).") from error


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
