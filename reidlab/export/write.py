"""Write a model as ONNX: images in, embeddings out, a batch of any size, its pre-processing inside or described beside.

Resizing stays outside in either form. Our images are resized by Pillow (bilinear, antialiased) when they are decoded;
a graph's own resizing gives other pixels, for few runtimes know antialiasing and those that do round differently. So
the graph takes images of the model's size, and says which that is.
"""

from __future__ import annotations

import copy
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.export.check import Check, check_onnx
from reidlab.export.request import FORMS, LOWEST_OPSET, PACKAGES, check_request, files_of
from reidlab.models import count_parameters
from reidlab.models.onnx_graph import onnx_program
from reidlab.space import check_space
from reidlab.store import provenance

__all__ = ["ExportReport", "export_onnx"]

_ONE_FILE = 1_500_000_000  # bytes of weights; a protobuf ends at 2 GB
_GRAPH = 4 * 2**20  # bytes of operators, names and metadata
_RESIZE = "the whole image to height x width, bilinear and antialiased (Pillow's BILINEAR), before the graph sees it"


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how it compares with torch.

    Attributes:
        path: the ONNX file; path.onnx.json (what stands beside) and path.onnx.data (large weights) may go with it.
        megabytes: of all of them, 10^6 bytes.
        facts: what the file's metadata say.
        check: the comparison.
    """

    path: Path
    megabytes: float
    facts: Mapping[str, Any]
    check: Check

    def __str__(self) -> str:
        facts, check = self.facts, self.check
        lines = [
            f"{self.megabytes:.1f} MB, opset {facts['opset']}, {facts['parameters']:,} parameters",
            f"images: {facts['input']}; {facts['height']} x {facts['width']}, {facts['channels']}, resized beforehand",
            f"embeddings: float32 [batch, {facts['dim']}]" + (", L2-normalised" if facts["l2_normalised"] else ""),
            f"onnxruntime against torch, {check.n_noise} images of noise, {check.n_images} real: "
            f"largest difference {check.max_difference:.1e}, smallest cosine {check.worst_cosine:.7f}",
        ]
        if not math.isnan(check.rank1):
            lines.append(f"nearest image the same for {check.rank1:.1%}, ten nearest for {check.top10:.1%}")
        if check.n_images:
            lines.append(f"images per second: onnxruntime {check.onnx_speed:.0f}, torch {check.torch_speed:.0f}")
        return "\n".join(lines)


def export_onnx(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    preprocess: str = "inside",
    opset: int = LOWEST_OPSET,
    images: Tensor | None = None,
    tolerance: float = 1e-4,
    force: bool = False,
    about: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a model as ONNX and compare it with torch; a file that differs never gets its name.

    The graph maps `images` to `embeddings` float32 [batch, dim], a batch of any size. Its metadata tell the input size,
    mean, std, channel order, how images are resized, and where the model comes from. The model itself stays as it is.

    Args:
        model: gives embeddings in eval mode and has `.preprocess` (`reidlab.models.build`, `load_model`).
        path: ends in .onnx; folders above it are made.
        preprocess: "inside": the graph takes uint8 [batch, height, width, 3], RGB, as decoders give it; it scales,
            normalises and transposes. "beside": it takes float32 [batch, 3, height, width], normalised by whoever runs
            it, and path.onnx.json says how.
        opset: of ONNX; from 18 to the newest that the installed packages write.
        images: real images to compare on besides noise, uint8 [image, 3, height, width] of the model's size.
        tolerance: the largest difference of any number of an embedding.
        force: replace files that are there.
        about: what else the metadata shall say: name, digest, data set.

    Raises:
        UserError: what `check_request` and `check_onnx` refuse, a model that cannot be exported or that differs by more
            than the tolerance, a file that cannot be written.
    """
    path = Path(path)
    check_request(path, preprocess=preprocess, opset=opset, force=force)
    how = getattr(model, "preprocess", None)
    if not isinstance(how, Preprocess):
        raise UserError(
            f"{type(model).__name__} has no `preprocess` (a Preprocess), which says how pixels become its input."
        )
    copied: Any = copy.deepcopy(model).eval()
    model = copied.to("cpu", torch.float32, memory_format=torch.contiguous_format)
    facts = dict(about or {}) | _facts(model, how, preprocess, opset)
    check_space(path.parent, _needed_bytes(model), "The exported model")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as work:
            draft = Path(work) / path.name
            _write(draft, _program(model, how, preprocess, opset), facts)
            check = _checked(draft, model, images, tolerance)
            megabytes = _publish(draft, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}). Free disk space, or allow writing there.") from error
    return ExportReport(path, megabytes, facts, check)


def _needed_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's tensors, and some for its graph."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) + _GRAPH


def _program(model: nn.Module, how: Preprocess, preprocess: str, opset: int) -> Any:
    """Write the model in ONNX's operators, of the opset that was asked for and no other."""
    program = onnx_program(model, how, inside=preprocess == "inside", opset=opset)
    made = program.model.opset_imports[""]
    if made != opset:
        raise UserError(f"opset={opset}: torch's exporter writes opset {made} for this model; ask for that.")
    return program


def _facts(model: nn.Module, how: Preprocess, preprocess: str, opset: int) -> dict[str, Any]:
    """Return what a user of the file must know who has nothing else."""
    with torch.inference_mode():
        embeddings = model(torch.rand(2, 3, how.height, how.width, generator=torch.Generator().manual_seed(0)))
    if not embeddings.isfinite().all():
        raise UserError(f"{type(model).__name__} gives NaN or infinite values; its weights are damaged.")
    return {
        "preprocess": preprocess,
        "input": FORMS[preprocess],
        "height": how.height,
        "width": how.width,
        "channels": "RGB",
        "mean": list(how.mean),
        "std": list(how.std),
        "resize": _RESIZE,
        "dim": int(embeddings.shape[1]),
        "l2_normalised": bool(torch.allclose(embeddings.norm(dim=1), torch.ones(2), atol=1e-4)),
        "parameters": count_parameters(model, classifiers=False),
        "opset": opset,
        "versions": provenance.versions(("reidlab", "torch", *PACKAGES)),
    }


def _write(draft: Path, program: Any, facts: Mapping[str, Any]) -> None:
    """Write a traced model whose metadata are `facts`, and the JSON file where pre-processing is beside it."""
    graph = program.model.graph
    nodes = list(graph.all_nodes())
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in nodes for value in node.outputs)]
    for thing in [program.model, graph, *nodes, *values]:
        thing.metadata_props.clear()  # the exporter's notes, which name files of this machine
    for name, fact in facts.items():
        program.model.metadata_props[name] = fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)
    size = sum(value.const_value.nbytes for value in graph.initializers.values())
    program.save(draft, external_data=size > _ONE_FILE)
    if facts["preprocess"] == "beside":
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        files_of(draft)[-1].write_text(text + "\n", encoding="utf-8")


def _checked(draft: Path, model: nn.Module, images: Tensor | None, tolerance: float) -> Check:
    import onnx

    try:
        onnx.checker.check_model(str(draft), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(f"The exporter made a file that is not valid ONNX ({error}); nothing was written.") from error
    check = check_onnx(draft, model, images)
    if not check.within(tolerance):
        raise UserError(
            f"The exported model differs from torch by {check.max_difference:.2e}, more than {tolerance:g} (smallest "
            f"cosine {check.worst_cosine:.6f}); nothing was written. If that is good enough, raise the tolerance."
        )
    return check


def _publish(draft: Path, path: Path) -> float:
    """Move the files to their place, the graph last, and return their size in MB."""
    total = 0
    for source, target in reversed(list(zip(files_of(draft), files_of(path)))):
        if not source.exists():
            target.unlink(missing_ok=True)  # of an earlier export
            continue
        total += source.stat().st_size
        with source.open("rb+") as file:
            os.fsync(file.fileno())
        source.replace(target)
    return total / 1e6
