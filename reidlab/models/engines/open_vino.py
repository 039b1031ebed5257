"""The engine openvino: the model's ONNX graph in Intel's runtime, on the CPU (AMD's too)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models.engines.base import INT8, Job, Pixels, Prepared, Runner, of_model
from reidlab.models.engines.eight_bits import to_eight_bits
from reidlab.models.engines.graphs import graph_file

__all__ = ["prepare_openvino", "without_telemetry"]

_CHUNK = 8  # images of one request; each stream works on one
_PER_STREAM = 8  # requests of a batch for each stream, so that none waits long for the others at its end
_NAMES = {"float32": "f32", "bfloat16": "bf16", INT8: "f32"}  # of what is not in 8 bits
_TELEMETRY = "openvino_telemetry"  # OpenVINO reports its own import with it, unasked


def prepare_openvino(model: nn.Module, job: Job) -> Prepared:
    """Export the model and compile it for requests of one size, several of them at once.

    In int8 the graph is quantised first, calibrated on up to 32 of the images to be embedded: two to four times as fast
    as float32 for wide networks such as ResNet-50, hardly faster for OSNet and other networks of thin layers. A mean
    cosine to float32 below 0.995, on images that were not calibrated on, is an error.

    Raises:
        UserError: the model cannot be exported, or OpenVINO does not take it.
    """
    with without_telemetry():
        import openvino
    size = min(job.batch_size or _CHUNK, _CHUNK)
    how = of_model(model)
    settings = {
        "INFERENCE_PRECISION_HINT": _NAMES[job.precision],
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    with graph_file(model) as path:
        read = to_eight_bits(path, job, _once) if job.precision == INT8 else path
        try:
            graph = openvino.Core().read_model(str(read))
            graph.reshape([size, how.height, how.width, 3])
            compiled = openvino.Core().compile_model(graph, "CPU", settings)
        except RuntimeError as error:  # what its bindings raise
            reason = str(error).strip().rpartition("\n")[2]
            raise UserError(f"OpenVINO does not take {type(model).__name__} ({reason}).") from error
    used = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    fell_back = job.precision == "bfloat16" and used != _NAMES["bfloat16"]  # this CPU has none
    streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    run = _Requests(openvino.AsyncInferQueue(compiled, streams), size)
    module = Runner(run, Pixels(how), int(getattr(model, "dim", 0)), size)
    batch = job.batch_size or size * streams * _PER_STREAM
    return Prepared(module, plan("cpu", "float32"), "openvino", "float32" if fell_back else job.precision, batch)


def _once(path: Path, images: np.ndarray) -> np.ndarray:
    """Compute the graph of a file for one batch."""
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled({0: images})[0])


class _Requests:
    """Embed the parts of a batch, several at once."""

    def __init__(self, queue: Any, size: int) -> None:
        self.queue, self.size, self.found = queue, size, {}  # type: ignore[var-annotated]
        queue.set_callback(self._keep)

    def _keep(self, request: Any, part: int) -> None:
        self.found[part] = np.array(request.get_output_tensor(0).data, copy=True)

    def __call__(self, images: Tensor) -> Tensor:
        """Map uint8 [batch, 3, height, width], a multiple of the size, to embeddings [batch, dim]."""
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.found.clear()
        for start in range(0, len(pixels), self.size):
            self.queue.start_async({0: pixels[start : start + self.size]}, start)
        self.queue.wait_all()
        return torch.from_numpy(np.concatenate([self.found[start] for start in sorted(self.found)]))


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import as if the package that tells Intel of the import were not installed: nobody is told what runs here."""
    known = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        if known is not None:
            sys.modules[_TELEMETRY] = known
