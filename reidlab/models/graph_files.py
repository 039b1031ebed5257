"""Trained networks as files of a runtime: ONNX (.onnx) and OpenVINO (.xml with .bin), which give embeddings alone.

Such a file knows the shape of its input, and not what the numbers in it mean. Files that `reidlab export` wrote say so
themselves; beside any other stands a YAML file of the same name that does (`GraphInput`). OpenVINO reads both kinds.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models.engines.open_vino import without_telemetry
from reidlab.models.graph_input import GRAPH_FILES, GraphInput, beside, understood
from reidlab.models.weights.load import file_digest
from reidlab.paths import exists, find

__all__ = ["GRAPH_FILES", "GraphModel", "graph_digest", "is_graph_file", "load_graph"]

_CHUNK = 8  # images at once, as the engine openvino has them


class GraphModel(nn.Module):
    """The network of a file: it has no parameters of torch, learns nothing, and computes on the CPU in float32.

    Args:
        path: of the file.
        graph: OpenVINO's, with inputs and outputs that were checked.
        how: what its input is; None for pixels as they are, uint8 [batch, height, width, 3] in RGB.
        size: height and width of its input, pixels.

    Attributes:
        preprocess: makes float32 RGB in [0, 1] of uint8; the rest, as `how` says, is done here.
        dim: of the embeddings.
        counts: parameters (constants of floating point) and multiply-adds of convolutions and linear layers.
    """

    def __init__(self, path: Path, graph: Any, how: GraphInput | None, size: tuple[int, int]) -> None:
        super().__init__()
        self.path, self.how = path, how
        self.preprocess = Preprocess(*size)
        self._output = _output(path, graph, how.output if how else "")
        shape = [1, *size, 3] if how is None else [1, 3, *size]
        self.chunk = _given_batch(graph)
        graph.reshape(shape)
        dims = [int(n) for n in graph.output(self._output).get_partial_shape().get_min_shape()]
        if len(dims) < 2 or dims[0] != 1 or any(n != 1 for n in dims[2:]):
            raise UserError(f"{path}: its output {self._output!r} is {dims} for one image, no embedding [1, dim].")
        self.dim, self.counts = dims[1], (_parameters(graph), _macs(graph))
        self._run = self._compiled(graph, shape)

    @property
    def told(self) -> str:
        """Return how the file is read, as a sentence."""
        if self.how is None:
            return f"{self.path.name}: read by OpenVINO; the file scales pixels itself."
        how = self.how
        scaled = f", minus {list(how.mean)}, over {list(how.std)}" if any(how.mean) or set(how.std) != {1.0} else ""
        values = f"{how.channels.upper()} from 0 to {how.range:g}{scaled}"
        return f"{self.path.name}: read by OpenVINO; its input is {values}."

    def _compiled(self, graph: Any, shape: list[int]) -> Any:
        """Compile for batches of any size; of the file's own size where the graph cannot take others."""
        import openvino

        try:
            graph.reshape([-1, *shape[1:]])
            free = bool(graph.output(self._output).get_partial_shape()[0].is_dynamic)
        except RuntimeError:
            free = False
        if free:
            self.chunk = 0
        else:
            graph.reshape([self.chunk, *shape[1:]])
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        return openvino.Core().compile_model(graph, "CPU", settings)

    def forward(self, images: Tensor) -> Tensor:
        """Map float32 [batch, 3, height, width], RGB in [0, 1], to embeddings [batch, dim] on the same device."""
        ready = self._input(images.detach().float().cpu()).contiguous().numpy()
        size = self.chunk or _CHUNK
        parts = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(ready), size):
            part = ready[start : start + size]
            filled = np.resize(part, (size, *part.shape[1:])) if self.chunk else part
            parts.append(np.array(self._run({0: filled})[self._output]).reshape(len(filled), -1)[: len(part)])
        return torch.from_numpy(np.concatenate(parts)).to(images.device)

    def _input(self, images: Tensor) -> Tensor:
        if self.how is None:
            return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        ordered = images.flip(1) if self.how.channels == "bgr" else images
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.how.mean, self.how.std))
        return (ordered * self.how.range - mean) / std

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModel:
        return self  # what OpenVINO compiled cannot be copied, and nothing here changes


def is_graph_file(given: str) -> bool:
    """Return whether a text names a file of a runtime, by its ending."""
    return Path(given.strip()).suffix.lower() in GRAPH_FILES


def graph_digest(given: str | Path) -> str:
    """Return the digest of a file, of the weights beside it and of what is said of its input.

    Raises:
        UserError: there is no such file, or not its weights.
    """
    path = _found(given)
    parts = [path, *(part for part in (path.with_suffix(".bin"), beside(path)) if part.is_file())]
    return hashlib.sha256(":".join(map(file_digest, parts)).encode()).hexdigest()


def load_graph(given: str | Path) -> GraphModel:
    """Open a file of ONNX or OpenVINO as a model that gives embeddings.

    Raises:
        UserError: no such file, OpenVINO is not installed or does not read it, nothing says what its input is, or it
            does not take one batch of images and give one of embeddings.
    """
    path = _found(given)
    if importlib.util.find_spec("openvino") is None:
        raise UserError(f"{path.name} is read by openvino, not installed here: pip install openvino")
    with without_telemetry():
        import openvino
    try:
        graph = openvino.Core().read_model(str(path))
        how, size = understood(path, graph)
        return GraphModel(path, graph, how, size)
    except RuntimeError as error:  # what its bindings raise
        raise UserError(f"{path} cannot be used: OpenVINO says {_last_line(error)}.") from error


def _found(given: str | Path) -> Path:
    path = find(given)
    if not (exists(path) and path.is_file()):
        raise UserError(f"there is no file {path}, neither here nor in the workbook's folder.")
    if path.suffix.lower() == ".xml" and not path.with_suffix(".bin").is_file():
        raise UserError(f"{path} is the graph alone: its weights, {path.stem}.bin, must lie beside it.")
    return path


def _output(path: Path, graph: Any, name: str) -> str:
    names = [each.get_any_name() for each in graph.outputs]
    if name in names:
        return name
    if name or len(names) != 1:
        what = f"has no output {name!r}; it has" if name else "has several outputs:"
        raise UserError(f"{path} {what} {', '.join(names)}. Name the embedding: `output` in {beside(path).name}.")
    return names[0]


def _given_batch(graph: Any) -> int:
    batch = graph.inputs[0].get_partial_shape()[0]
    return int(batch.get_length()) if batch.is_static else 1


def _parameters(graph: Any) -> int:
    constants = [op for op in graph.get_ops() if op.get_type_name() == "Constant" and op.get_element_type().is_real()]
    return sum(int(np.prod(list(op.get_output_shape(0)))) for op in constants)


def _macs(graph: Any) -> int:
    """Count multiply-adds for one image, as `count_macs` does; the graph takes one."""
    total = 0
    for op in graph.get_ops():
        kind = op.get_type_name()
        if kind not in ("Convolution", "GroupConvolution", "MatMul"):
            continue
        shape = list(op.get_input_shape(1))  # of the weights
        if kind == "MatMul":
            per_number = list(op.get_input_shape(0))[-1] if len(shape) == 2 else 0  # products inside attention are not
        else:
            per_number = int(np.prod(shape[1:] if kind == "Convolution" else shape[2:]))
        total += int(np.prod(list(op.get_output_shape(0)))) * per_number
    return total


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2].strip().rstrip(".")
