"""Checkpoints: weights in safetensors, state beside them, every file complete before a pointer names it.

`last.json` names the newest checkpoint and is replaced atomically, so a kill at any moment leaves the checkpoint before
it. A finished model is a folder: model.safetensors and config.json, which `load_model` turns back into a model.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reidlab import __version__
from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models import build, without_weights

__all__ = ["WEIGHTS", "Checkpoint", "Checkpoints", "load_model", "save_model", "saved_folder", "write_json"]

WEIGHTS = "model.safetensors"  # of a saved model
_DAMAGED = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError, pickle.UnpicklingError,
    SafetensorError,
)  # fmt: skip


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that the file is old or new at every moment, never half."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _save_weights(state: Mapping[str, Tensor], path: Path, about: Mapping[str, str] | None = None) -> None:
    """Write tensors, complete on the disk before the file has its name."""
    # an own copy of every tensor, plain row-major: safetensors stores no memory format and no shared memory
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    partial = path.with_name(path.name + ".partial")
    save_file(copies, partial, metadata=dict(about or {}))
    _flush(partial)
    partial.replace(path)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what to do where the disk is full or the folder read-only."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save and safetensors have errors of their own
        raise UserError(
            f"{folder} cannot be written ({error}). Make it writable, or free disk space; then start again: "
            f"the training goes on from its last checkpoint."
        ) from error


def save_model(model: nn.Module, folder: Path, config: Mapping[str, Any]) -> None:
    """Write model.safetensors and config.json (spec, num_classes and whatever else describes the model).

    The folder stands alone: pretrained weights are not asked for again, and the normalisation that came with them is
    written down.
    """
    spec = config["spec"]
    spec = spec if isinstance(spec, str) else without_weights(spec)
    about = {**config, "spec": spec, "preprocess": asdict(model.preprocess)}  # type: ignore[call-overload]
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _save_weights(model.state_dict(), folder / WEIGHTS, {"format": "pt"})
        write_json(folder / "config.json", {"reidlab": __version__, **about})


def saved_folder(path: Path) -> Path:
    """Find the folder of a saved model: the one given, or model/ in the folder of a training run.

    Raises:
        UserError: neither holds weights.
    """
    folder = path if (path / WEIGHTS).is_file() else path / "model"
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{path} holds no saved model (no {WEIGHTS}). Train one with notebook 03.")
    return folder


def load_model(folder: Path) -> nn.Module:
    """Build the model that `save_model` wrote, in eval mode.

    Raises:
        UserError: the folder is no saved model, or its weights do not fit its config.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        spec, num_classes = config["spec"], config["num_classes"]
        state = load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = f"no {error} in config.json" if isinstance(error, KeyError) else error
        raise UserError(f"{folder} holds no saved model ({reason}). Train one with notebook 03.") from error
    try:
        model = build(spec, num_classes)
        model.load_state_dict(state)
        if "preprocess" in config:  # models saved before did not have it
            model.preprocess = _preprocess(config["preprocess"])  # type: ignore[assignment]
    except (UserError, TypeError) as error:
        raise UserError(f"{folder}: config.json describes no model that can be built ({error}).") from error
    except RuntimeError as error:
        raise UserError(f"{folder}: the weights do not fit the config ({str(error).splitlines()[0]}).") from error
    return model.eval()


def _preprocess(saved: Mapping[str, Any]) -> Preprocess:
    return Preprocess(**{**saved, "mean": tuple(saved["mean"]), "std": tuple(saved["std"])})


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training needs to go on."""

    epochs_done: int
    model: dict[str, Tensor]
    state: dict[str, Any]
    progress: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run below `folder`; only the newest is kept, and the best weights.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "probe.json", {})  # better now than after the first epoch
            (folder / "probe.json").unlink()

    def save(self, epochs_done: int, model: nn.Module, state: dict[str, Any], progress: dict[str, Any]) -> None:
        """Write a checkpoint and make it the newest.

        Args:
            epochs_done: finished epochs.
            model: its weights and buffers are written.
            state: optimiser and random states; tensors and plain values, so that they load without running code.
            progress: JSON values: history, best epoch.

        Raises:
            UserError: the folder cannot be written, or the disk is full.
        """
        name = f"epoch-{epochs_done:05d}"
        target = self.folder / name
        with _writing(self.folder):
            shutil.rmtree(target, ignore_errors=True)  # left by a kill before the pointer named it
            target.mkdir()
            _save_weights(model.state_dict(), target / "model.safetensors")
            torch.save(state, target / "state.pt")
            _flush(target / "state.pt")
            write_json(target / "progress.json", progress)
            write_json(self.folder / "last.json", {"checkpoint": name, "epochs_done": epochs_done})
        for other in self.folder.glob("epoch-*"):
            if other.name != name:
                shutil.rmtree(other, ignore_errors=True)
        best = progress.get("best", {}).get("epoch", -1)
        for other in self.folder.glob("best-*"):
            if other != self._best(best):
                other.unlink(missing_ok=True)

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
        except _DAMAGED as error:
            # torch's own words advise to load such a file without its safety check
            unpicklable = isinstance(error, pickle.UnpicklingError)
            reason = "it holds more than tensors and plain values" if unpicklable else error
            raise UserError(
                f"The checkpoint in {self.folder} is damaged ({reason}). Remove that folder to train from the start."
            ) from error

    def _best(self, epoch: float) -> Path:
        # the epoch is in the name: a kill between these weights and the next checkpoint leaves the older best in place
        return self.folder / f"best-{int(epoch):05d}.safetensors"

    def save_best(self, model: nn.Module, epoch: int) -> None:
        """Write these weights as the best, beside the earlier ones until the next checkpoint names them."""
        with _writing(self.folder):
            _save_weights(model.state_dict(), self._best(epoch), {"epoch": str(epoch)})

    def load_best(self, epoch: int) -> dict[str, Tensor]:
        """Read the weights of the best epoch.

        Raises:
            UserError: they are missing or damaged.
        """
        try:
            return load_file(self._best(epoch))
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"The best weights in {self.folder} are damaged ({error}). Remove that folder to train from the start."
            ) from error

    def clear(self) -> None:
        """Remove everything, once the finished model is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
