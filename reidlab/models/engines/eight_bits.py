"""Graphs in 8 bits: static quantisation after training, calibrated on some of the very images that will be embedded.

Weights have a scale for each output channel (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018), activations the range that holds all but a ten-thousandth of the values
of the calibration: a few large ones would make the steps of all others coarse. Both runtimes read the same graph, with
pairs of QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from reidlab.errors import UserError
from reidlab.models.engines.base import Job

__all__ = ["Infer", "overflows", "to_eight_bits"]

Infer = Callable[[Path, np.ndarray], Float32[np.ndarray, "image dim"]]

# Sums and the last layers stay in float32: both cost accuracy. So do norms: one in 8 bits that no convolution has taken
# in ends the process of OpenVINO 2026.4. Without the products of gates its embeddings were further off than
# onnxruntime's.
_OPERATORS = ["Conv", "Mul", "MaxPool"]
_AT_ONCE = 8  # images
_SHARE = 99.99  # per cent of an activation's values
_OPSET = 18


def to_eight_bits(path: Path, job: Job, infer: Infer) -> Path:
    """Write a graph in 8 bits beside that of float32 and return its path.

    Where the runtime's products overflow (a CPU without VNNI or the like), weights keep 7 bits.

    Args:
        path: the graph, uint8 [batch, height, width, 3] to embeddings.
        job: its `calibration` is read.
        infer: computes the graph of a file by the runtime that the new graph is for.

    Raises:
        UserError: too few images to calibrate on, or the quantiser does not manage the graph.
    """
    images = np.ascontiguousarray(job.calibration.permute(0, 2, 3, 1).numpy())
    made = path.with_name("eight_bits.onnx")
    try:
        _quantise(path, made, images, seven=overflows(path.with_name("probe.onnx"), infer))
    except Exception as error:  # of many kinds, from several packages
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"precision='int8': this model's graph is not managed ({type(error).__name__}: {reason}). Choose another "
            "precision."
        ) from error
    return made


def _quantise(path: Path, made: Path, images: UInt8[np.ndarray, "image height width 3"], *, seven: bool) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = np.split(images, range(_AT_ONCE, len(images), _AT_ONCE))
            self.coming: list[np.ndarray] = []

        def __len__(self) -> int:
            return len(self.parts)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.coming = self.parts[start_index:end_index]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"images": self.coming.pop(0)} if self.coming else None

    with _quiet():
        quantize_static(
            path,
            made,
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            reduce_range=seven,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": _SHARE, "CalibStridedMinMax": 1},  # a part at a time bounds the memory
        )


def overflows(path: Path, infer: Infer) -> bool:
    """Return whether a runtime's sums of two products of 8 bits stop at 16 bits, by a convolution that shows it.

    Older CPUs add 255 x 127 + 255 x 127 in 16 bits, and what is beyond 32,767 is lost. What a CPU has can be switched
    off, and the runtimes heed different switches: only a computation tells.

    Args:
        path: where the graph is written.
        infer: as `to_eight_bits`.
    """
    import onnx

    channels = 32
    onnx.save(_brightest(channels), path)
    found = infer(path, np.full((1, 8, 8, channels), 255, np.uint8))
    return bool(np.abs(found - channels).max() > channels / 100)


def _brightest(channels: int) -> Any:
    """Return a graph whose only convolution adds up as many products of 1.0 as there are channels, in 8 bits."""
    from onnx import TensorProto, helper, numpy_helper

    values = {
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "weights": np.full((channels, channels, 1, 1), 127, np.int8),
        "weight_scales": np.full(channels, 1 / 127, np.float32),
        "weight_zeros": np.zeros(channels, np.int8),
        "sum_scale": np.float32(channels / 255),
    }
    nodes = [
        helper.make_node("Transpose", ["images"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["turned", "scale", "zero"], ["ones"]),
        helper.make_node("DequantizeLinear", ["weights", "weight_scales", "weight_zeros"], ["kernel"], axis=0),
        helper.make_node("Conv", ["ones", "kernel"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "sum_scale", "zero"], ["coarse"]),
        helper.make_node("DequantizeLinear", ["coarse", "sum_scale", "zero"], ["embeddings"]),
    ]
    size = [1, 8, 8, channels]
    taken = helper.make_tensor_value_info("images", TensorProto.UINT8, size)
    given = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [1, channels, 8, 8])
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "overflow", [taken], [given], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what the quantiser prints, and says on the root logger, which would get a handler for good from that."""
    root, nobody = logging.getLogger(), logging.NullHandler()

    def of_others(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname

    root.addHandler(nobody)
    root.addFilter(of_others)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.removeFilter(of_others)
        root.removeHandler(nobody)
