"""The engine onnxruntime: the model's ONNX graph in Microsoft's runtime, on the CPU."""

from __future__ import annotations

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

__all__ = ["prepare_onnxruntime"]

_CHUNK = 16  # images; more at once is no faster on a CPU and takes more memory


def prepare_onnxruntime(model: nn.Module, job: Job) -> Prepared:
    """Export the model and open it.

    In int8 the graph is quantised first, calibrated on up to 32 of the images to be embedded: two to four times as fast
    as float32 for wide networks such as ResNet-50, hardly faster for OSNet and other networks of thin layers. A mean
    cosine to float32 below 0.995, on images that were not calibrated on, is an error.

    Raises:
        UserError: the model cannot be exported, or the runtime does not take it.
    """
    size = min(job.batch_size or _CHUNK, _CHUNK)
    with graph_file(model) as path:
        read = to_eight_bits(path, job, _once) if job.precision == INT8 else path
        try:
            session = _opened(read)
        except Exception as error:  # it has a dozen classes of its own, without a common base
            reason = str(error).partition("\n")[0]
            raise UserError(f"onnxruntime does not take {type(model).__name__} ({reason}).") from error

    def run(images: Tensor) -> Tensor:
        pixels = images.permute(0, 2, 3, 1).contiguous()
        parts = [session.run(["embeddings"], {"images": part.numpy()})[0] for part in pixels.split(size)]
        return torch.cat([torch.from_numpy(part) for part in parts])

    module = Runner(run, Pixels(of_model(model)), int(getattr(model, "dim", 0)))
    return Prepared(module, plan("cpu", "float32"), "onnxruntime", job.precision, job.batch_size or 4 * _CHUNK)


def _opened(path: Path) -> Any:
    """Open a graph on the CPU, with as many threads as torch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; warnings are about its own optimisations
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _once(path: Path, images: np.ndarray) -> np.ndarray:
    """Compute the graph of a file for one batch."""
    return np.asarray(_opened(path).run(["embeddings"], {"images": images})[0])
