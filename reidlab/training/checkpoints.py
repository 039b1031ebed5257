"""Checkpoints: weights in safetensors, state beside them, every file complete before a pointer names it.

`last.json` names the newest checkpoint and is replaced atomically, so a kill at any moment leaves the checkpoint before
it. A finished model is a folder of its own: `reidlab.models.saved`.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reidlab.documents import as_mapping, read_json
from reidlab.errors import UserError
from reidlab.models.saved import WEIGHTS
from reidlab.models.weights.load import read_object, read_weights
from reidlab.models.weights.writing import check_room, save_state, save_weights, write_json, writing

__all__ = ["Checkpoint", "Checkpoints"]

_PROGRESS_BYTES = 2**26  # of a history of many epochs


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training needs to go on."""

    epochs_done: int
    model: dict[str, Tensor]
    state: dict[str, Any]
    progress: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run below `folder`; only the newest is kept, and the best weights.

    Args:
        folder: made where it is missing.
        writes: False for processes that leave the writing to another one.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder = folder
        if not writes:
            return
        with writing(folder):
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
        target, weights = self.folder / name, model.state_dict()
        check_room(self.folder, f"The checkpoint of epoch {epochs_done}", weights, state)
        with writing(self.folder):
            shutil.rmtree(target, ignore_errors=True)  # left by a kill before the pointer named it
            try:
                target.mkdir()
                save_weights(weights, target / WEIGHTS)
                save_state(state, target / "state.pt")
                write_json(target / "progress.json", progress)
            except BaseException:
                shutil.rmtree(target, ignore_errors=True)
                raise
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
        if not (self.folder / "last.json").exists():
            return None
        try:
            name, epochs_done = self._newest()
            source = self.folder / name
            state = read_object(source / "state.pt")
            progress = read_json(source / "progress.json", "progress.json", limit=_PROGRESS_BYTES, finite=False)
            if not isinstance(state, dict):
                raise UserError("state.pt holds no mapping")
            return Checkpoint(epochs_done, read_weights(source / WEIGHTS), state, as_mapping(progress, "progress.json"))
        except UserError as error:
            raise UserError(
                f"The checkpoint in {self.folder} is damaged ({error}). Remove that folder to train from the start."
            ) from error

    def _newest(self) -> tuple[str, int]:
        """Return the folder and the finished epochs that last.json names."""
        last = as_mapping(read_json(self.folder / "last.json", "last.json"), "last.json")
        name, epochs_done = last.get("checkpoint"), last.get("epochs_done")
        if not isinstance(name, str) or not re.fullmatch(r"epoch-\d{5,}", name) or not isinstance(epochs_done, int):
            raise UserError("last.json names no checkpoint")
        return name, epochs_done

    def _best(self, epoch: float) -> Path:
        # the epoch is in the name: a kill between these weights and the next checkpoint leaves the older best in place
        return self.folder / f"best-{int(epoch):05d}.safetensors"

    def save_best(self, model: nn.Module, epoch: int) -> None:
        """Write these weights as the best, beside the earlier ones until the next checkpoint names them."""
        weights = model.state_dict()
        check_room(self.folder, f"The best model, of epoch {epoch},", weights)
        with writing(self.folder):
            save_weights(weights, self._best(epoch), {"epoch": str(epoch)})

    def load_best(self, epoch: int) -> dict[str, Tensor]:
        """Read the weights of the best epoch.

        Raises:
            UserError: they are missing or damaged.
        """
        try:
            return read_weights(self._best(epoch))
        except UserError as error:
            raise UserError(
                f"The best weights in {self.folder} are damaged ({error}). Remove that folder to train from the start."
            ) from error

    def clear(self) -> None:
        """Remove everything, once the finished model is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
