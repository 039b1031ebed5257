"""The graph of a model, as onnxruntime and OpenVINO read it: uint8 [batch, height, width, 3] to embeddings."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reidlab.models.engines.base import of_model
from reidlab.models.onnx_graph import onnx_program

__all__ = ["graph_file"]

_ONE_FILE = 1_500_000_000  # bytes of weights; a protobuf ends at 2 GB


@contextmanager
def graph_file(model: nn.Module) -> Iterator[Path]:
    """Write a copy of the model as ONNX into a folder that is gone afterwards; the model stays as it is.

    Raises:
        UserError: the exporter does not manage this model.
    """
    copied: Any = copy.deepcopy(model).eval()
    plain = copied.to("cpu", torch.float32, memory_format=torch.contiguous_format)
    program = onnx_program(plain, of_model(model))
    weights = sum(tensor.numel() * tensor.element_size() for tensor in plain.state_dict().values())
    with tempfile.TemporaryDirectory(prefix="reidlab-graph-") as folder:
        path = Path(folder) / "model.onnx"
        program.save(path, external_data=weights > _ONE_FILE)
        yield path
