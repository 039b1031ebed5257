"""The engine onnxruntime: the model's ONNX graph in Microsoft's runtime, on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models.engines.base import Job, Pixels, Prepared, Runner, of_model
from reidlab.models.engines.graphs import graph_file

__all__ = ["prepare_onnxruntime"]

_CHUNK = 16  # images; more at once is no faster on a CPU and takes more memory


def prepare_onnxruntime(model: nn.Module, job: Job) -> Prepared:
    """Export the model and open it.

    Raises:
        UserError: the model cannot be exported, or the runtime does not take it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; warnings are about its own optimisations
    size = min(job.batch_size or _CHUNK, _CHUNK)
    with graph_file(model) as path:
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # it has a dozen classes of its own, without a common base
            reason = str(error).partition("\n")[0]
            raise UserError(f"onnxruntime does not take {type(model).__name__} ({reason}).") from error

    def run(images: Tensor) -> Tensor:
        pixels = images.permute(0, 2, 3, 1).contiguous()
        parts = [session.run(["embeddings"], {"images": part.numpy()})[0] for part in pixels.split(size)]
        return torch.cat([torch.from_numpy(part) for part in parts])

    module = Runner(run, Pixels(of_model(model)), int(getattr(model, "dim", 0)))
    return Prepared(module, plan("cpu", "float32"), "onnxruntime", job.precision, job.batch_size or 4 * _CHUNK)
