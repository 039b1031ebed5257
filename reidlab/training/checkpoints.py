"""Checkpoints: weights in safetensors, state beside them, every file complete before a pointer names it.

`last.json` names the newest checkpoint and is replaced atomically, so a kill at any moment leaves the checkpoint before it. A
finished model is a folder: model.safetensors and config.json, which `load_model` turns back into a model.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reidlab import __version__
from reidlab.errors import UserError
from reidlab.models import build

__all__ = ["Checkpoint", "Checkpoints", "load_model", "save_model", "write_json"]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that the file is old or new at every moment, never half."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def save_model(model: nn.Module, folder: Path, config: Mapping[str, Any]) -> None:
    """Write model.safetensors and config.json (spec, num_classes and whatever else describes the model)."""
    folder.mkdir(parents=True, exist_ok=True)
    # an own copy of every tensor, plain row-major: safetensors stores no memory format and no shared memory
    state = {name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()}
    partial = folder / "model.safetensors.partial"
    save_file(state, partial, metadata={"format": "pt"})
    partial.replace(folder / "model.safetensors")
    write_json(folder / "config.json", {"reidlab": __version__, **config})


def load_model(folder: Path) -> nn.Module:
    """Build the model that `save_model` wrote, in eval mode.

    Raises:
        UserError: the folder is no saved model, or its weights do not fit its config.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        state = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} holds no saved model ({error}). Train one with notebook 03.") from error
    model = build(config["spec"], config["num_classes"])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{folder}: the weights do not fit the config ({str(error).splitlines()[0]}).") from error
    return model.eval()


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training needs to go on."""

    epochs_done: int
    model: dict[str, Tensor]
    state: dict[str, Any]
    progress: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run below `folder`; only the newest is kept, and the best weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, epochs_done: int, model: nn.Module, state: dict[str, Any], progress: dict[str, Any]) -> None:
        """Write a checkpoint and make it the newest.

        Args:
            epochs_done: finished epochs.
            model: its weights and buffers are written.
            state: optimiser and random states; tensors and plain values, so that they load without running code.
            progress: JSON values: history, best epoch.
        """
        name = f"epoch-{epochs_done:05d}"
        target = self.folder / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        weights = {k: t.detach().cpu().contiguous().clone() for k, t in model.state_dict().items()}
        save_file(weights, target / "model.safetensors")
        torch.save(state, target / "state.pt")
        write_json(target / "progress.json", progress)
        write_json(self.folder / "last.json", {"checkpoint": name, "epochs_done": epochs_done})
        for other in self.folder.glob("epoch-*"):
            if other.name != name:
                shutil.rmtree(other, ignore_errors=True)

    def load(self) -> Checkpoint | None:
        """Read the newest checkpoint, or None where there is none.

        Raises:
            UserError: the checkpoint is damaged.
        """
        pointer = self.folder / "last.json"
        if not pointer.exists():
            return None
        try:
            last = json.loads(pointer.read_text(encoding="utf-8"))
            source = self.folder / last["checkpoint"]
            return Checkpoint(
                last["epochs_done"],
                load_file(source / "model.safetensors"),
                torch.load(source / "state.pt", weights_only=True, map_location="cpu"),
                json.loads((source / "progress.json").read_text(encoding="utf-8")),
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"The checkpoint in {self.folder} is damaged ({error}). Remove that folder to train from the start."
            ) from error

    def save_best(self, model: nn.Module, epoch: int) -> None:
        """Keep these weights as the best so far."""
        weights = {k: t.detach().cpu().contiguous().clone() for k, t in model.state_dict().items()}
        partial = self.folder / "best.safetensors.partial"
        save_file(weights, partial, metadata={"epoch": str(epoch)})
        partial.replace(self.folder / "best.safetensors")

    def load_best(self) -> dict[str, Tensor]:
        """Read the best weights."""
        return load_file(self.folder / "best.safetensors")

    def clear(self) -> None:
        """Remove everything, once the finished model is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
