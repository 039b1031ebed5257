"""Convolutions and linear layers of a graph in int8, their ranges learnt from a few of the images to be embedded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from reidlab.errors import UserError

__all__ = ["quantised"]

_BATCH = 8
_LAYERS = ("Conv", "Gemm", "MatMul")


def quantised(graph: Path, pixels: UInt8[Tensor, "image 3 height width"]) -> Path:
    """Write a graph's int8 form beside it: weights per channel, activations between the extremes of these images.

    Args:
        graph: ONNX, from uint8 [batch, height, width, 3].
        pixels: images of the graph's size.

    Raises:
        UserError: onnxruntime, whose quantisation this is, does not manage the graph.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):
        """Hand out the images in batches."""

        def __init__(self) -> None:
            parts = pixels.permute(0, 2, 3, 1).contiguous().split(_BATCH)
            self.parts: Iterator[np.ndarray] = (part.numpy() for part in parts)

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.parts, None)
            return None if part is None else {"images": part}

    simple, target = graph.with_name("simple.onnx"), graph.with_name("int8.onnx")
    options: Any = {"per_channel": True, "op_types_to_quantize": list(_LAYERS)}
    try:
        with _silent():
            quant_pre_process(str(graph), str(simple), skip_symbolic_shape=True)
            quantization.quantize_static(str(simple), str(target), Images(), **options)
    except Exception as error:  # of any kind, from a tool that rewrites graphs
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"precision='int8': this model's graph cannot be quantised ({reason}).") from error
    return target


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the tool's advice, which is about its own steps, from the screen."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
