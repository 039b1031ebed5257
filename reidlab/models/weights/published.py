"""Load published weights, report what was loaded, and refuse files that would leave a part at random."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.build import build
from reidlab.models.families.custom_cnn import static_kernels
from reidlab.models.families.custom_cnn_reid import CustomCNNReID
from reidlab.models.families.timm_maps import TimmMaps
from reidlab.models.weights.embedding_path import check_loaded
from reidlab.models.weights.load import LoadReport, bare, load_state
from reidlab.models.weights.reading import read_object, read_weights, usable
from reidlab.registry import MODELS

__all__ = ["LoadReport", "Published", "load_custom_cnn_v32", "load_published", "read_state"]

_WHOLE = 0.95  # share of the tensors of a model with branches that its file must have: a backbone's alone will not do
_HEADS = (  # how others call what we call `reduce` and `neck`, as published files have it
    ("reduce.", "fc."),
    ("heads.bottleneck.0.", "bottleneck."),
    ("heads.bnneck.", "bottleneck."),
    ("bnneck.", "bottleneck."),
    ("neck.", "bottleneck."),
)

_RENAMED = {
    "conv2": "stage2.body",
    "conv3": "stage3.body",
    "conv4": "stage4.body",
    "conv5": "stage5.body",
    "skip_16_to_32": "stage2.skip",
    "skip_32_to_64": "stage3.skip",
    "skip_64_to_128": "stage4.skip",
    "skip_128_to_256": "stage5.skip",
    "fc_global": "head",
    "fc_parts": "part_heads",
}


def read_state(path: str | Path) -> Mapping[str, Tensor]:
    """Read a state dict from a .pth/.pt file without running code from it (weights_only).

    Raises:
        UserError: the file is missing, or holds something else than tensors by name (an object that only code could
            rebuild is refused unread).
    """
    state = read_object(path)
    named = isinstance(state, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not named or not state:
        raise UserError(f"weights file {path} holds no state dict (tensors by name).")
    return {name: usable(tensor, name, f"weights file {path}") for name, tensor in state.items()}


def load_custom_cnn_v32(model: nn.Module, path: str | Path) -> LoadReport:
    """Load `reid_model_3.2.pth` as published into a custom CNN model.

    The published "static" kernels are no Sobel, Laplacian or blur: an initialiser overwrote them before training. The
    weights after them were trained on those, so the file's kernels are taken, and the report says so.

    Raises:
        UserError: another model, a wrong file, or shapes that do not fit.
    """
    if not isinstance(model, CustomCNNReID):
        raise UserError(f"these weights belong to custom_cnn_v32, not to {type(model).__name__}.")
    state = {}
    for name, tensor in read_state(path).items():
        first, dot, rest = name.partition(".")
        state[_RENAMED.get(first, first) + dot + rest] = tensor
    own = model.network.state_dict()
    unused = tuple(sorted(set(state) - set(own)))
    missing = tuple(sorted(set(own) - set(state)))
    if len(missing) > len(own) // 2:
        raise UserError(f"{path} matches {len(own) - len(missing)} of {len(own)} tensors; is it reid_model_3.2.pth?")
    wrong = [name for name in own if name in state and own[name].shape != state[name].shape]
    if wrong:
        shapes = f"{tuple(state[wrong[0]].shape)} in the file, {tuple(own[wrong[0]].shape)} in the model"
        raise UserError(f"{path}: {len(wrong)} tensors have another shape, first {wrong[0]} ({shapes}).")
    fits = {name: tensor for name, tensor in state.items() if name in own}
    load_state(model.network, fits, min_match=0, key_map="", source=str(path))
    notes = []
    if not torch.allclose(model.network.static_conv.weight.cpu(), static_kernels()):
        notes.append("The fixed filters were taken from the file: they are not Sobel, Laplacian and blur there")
    parts = [v for k, v in state.items() if k.startswith("part_heads") and k.endswith(".1.bias")]
    if parts and all(not v.any() for v in parts):
        notes.append("The part heads in the file were never trained (their LayerNorms are at their initial values)")
    loaded = tuple(f"network.{name}" for name in fits)
    return LoadReport(len(own) - len(missing), unused, missing, tuple(notes), loaded=loaded)


@dataclass(frozen=True)
class Published:
    """A model whose embeddings pass through nothing that its file did not give.

    Attributes:
        model: in eval mode.
        spec: what it was built of: its name, and options that follow from what the file holds.
        report: what was loaded, and what was left out.
    """

    model: nn.Module
    spec: dict[str, Any]
    report: LoadReport


def load_published(name: str, path: Path) -> Published:
    """Build a registered model (or a network of timm) with weights that somebody else trained.

    A network's file may have a neck (`bottleneck.*`), which is built then, and that of an OSNet may lack its layer of
    512 (`fc.*`), which is left out then; the report says so.

    Args:
        name: of the model.
        path: of the file.

    Raises:
        UserError: the file cannot be read, or lacks tensors that the embedding passes through.
    """
    if name == "custom_cnn_v32":
        model, spec = build(name), {"name": name}
        report = load_custom_cnn_v32(model, path)
        loaded: Collection[str] = report.loaded
    elif "backbone" in MODELS.find(name).fixed:
        model, spec, report, loaded = _on_backbone(name, path)
    else:
        model, spec = build(name), {"name": name}
        report = load_state(model, read_weights(path), min_match=_WHOLE, source=path.name)
        loaded = report.loaded
    check_loaded(model, loaded, path.name)
    return Published(model.eval(), spec, _naming_unused(report))


def _on_backbone(name: str, path: Path) -> tuple[nn.Module, dict[str, Any], LoadReport, list[str]]:
    """Load a network of one branch, with the head and the neck that its file has."""
    plain = build(name)
    state = _renamed(read_weights(path), set(_file_names(plain)))
    held = {bare(key): tensor for key, tensor in state.items()}
    spec: dict[str, Any] = {"name": name}
    notes = []
    has_head, layer = any(key.startswith("fc.0.") for key in held), held.get("fc.0.weight")
    dim = int(plain.dim)  # type: ignore[arg-type]
    if layer is not None and layer.dim() == 2 and "fc.1.running_mean" in held:
        spec |= {"feature_dim": layer.shape[0]} if layer.shape[0] != dim else {}
    elif name.startswith("osnet") and not has_head:
        spec["feature_dim"] = 0
        notes.append(f"The file has no layer of {dim} behind the pooling (fc.*), so it was left out")
    neck = held.get("bottleneck.running_mean")
    model: Any = build(spec) if len(spec) > 1 else plain
    if neck is not None and neck.shape == (model.dim,):
        spec["neck"] = "bnneck"
        model = build(spec)
        notes.append("The file has a neck (bottleneck.*), behind which embeddings are taken")
    names = _file_names(model)
    own = model.state_dict()
    network = model.backbone.network if isinstance(model.backbone, TimmMaps) else model.backbone
    report = load_state(network, state, source=path.name, own={theirs: own[ours] for theirs, ours in names.items()})
    report = replace(report, notes=(*report.notes, *notes))
    return model, spec, report, [names[theirs] for theirs in report.loaded]


def _file_names(model: Any) -> dict[str, str]:
    """Return the names of a one-branch model's tensors by what a published file calls them."""
    inner = "backbone.network." if isinstance(model.backbone, TimmMaps) else "backbone."
    names = {name.removeprefix(inner): name for name in model.state_dict() if name.startswith(inner)}
    for ours, theirs in (("reduce.", "fc."), ("neck.", "bottleneck.")):
        for name in model.state_dict():
            if name.startswith(ours):
                names.setdefault(theirs + name.removeprefix(ours), name)
    return names


def _renamed(state: Mapping[str, Tensor], known: set[str]) -> dict[str, Tensor]:
    """Call heads and necks as most published files do, unless the network has such names itself."""
    renamed = {}
    for name, tensor in state.items():
        plain = bare(name)
        heads = (new + plain.removeprefix(old) for old, new in _HEADS if plain.startswith(old))
        other = next(heads, "") if plain not in known else ""
        renamed[other if other and other not in state else name] = tensor
    return renamed


def _naming_unused(report: LoadReport) -> LoadReport:
    """Add to a report which parts of the file went nowhere."""
    if not report.unused:
        return report
    parts = list(dict.fromkeys(f"{name.partition('.')[0]}.*" if "." in name else name for name in report.unused))
    shown = ", ".join(parts[:10]) + (", ..." if len(parts) > 10 else "")
    return replace(report, notes=(*report.notes, f"Not used of the file: {shown}"))
