"""Load weights as their authors published them, and say what was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.custom_cnn import static_kernels
from reidlab.models.custom_cnn_reid import CustomCNNReID
from reidlab.models.weights import LoadReport, read_object

__all__ = ["LoadReport", "load_custom_cnn_v32", "read_state"]

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
    return state


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
    model.network.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
    notes = []
    if not torch.allclose(model.network.static_conv.weight.cpu(), static_kernels()):
        notes.append("The fixed filters were taken from the file: they are not Sobel, Laplacian and blur there")
    parts = [v for k, v in state.items() if k.startswith("part_heads") and k.endswith(".1.bias")]
    if parts and all(not v.any() for v in parts):
        notes.append("The part heads in the file were never trained (their LayerNorms are at their initial values)")
    return LoadReport(len(own) - len(missing), unused, missing, tuple(notes))
