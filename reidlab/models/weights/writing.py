"""Files of a training that are whole or not there: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from reidlab.errors import UserError
from reidlab.space import check_space

__all__ = ["check_room", "save_state", "save_weights", "tensor_bytes", "write_json", "writing"]

_SLACK = 2**20  # names, headers and JSON


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON so that the file is old or new at every moment, never half."""
    with _beside(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)


def save_weights(state: Mapping[str, Tensor], path: Path, about: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, complete on the disk before the file has its name."""
    # an own copy of every tensor, plain row-major: safetensors stores no memory format and no shared memory
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    with _beside(path) as partial:
        save_file(copies, partial, metadata=dict(about or {}))


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values by torch.save, complete on the disk before the file has its name."""
    with _beside(path) as partial:
        torch.save(state, partial)


def tensor_bytes(value: Any) -> int:
    """Return the size in bytes of all tensors in nested mappings, lists and tuples."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(tensor_bytes, value.values()))
    return sum(map(tensor_bytes, value)) if isinstance(value, (list, tuple)) else 0


def check_room(folder: Path, what: str, *content: Any) -> None:
    """Refuse to write what the disk of `folder` cannot hold.

    Args:
        folder: where it is written.
        what: what is written, as the beginning of a sentence.
        content: nests with the tensors that are written.

    Raises:
        UserError: naming the bytes wanted, those that are free, and what frees some.
    """
    check_space(folder, tensor_bytes(content) + _SLACK, what)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Explain what to do where the disk is full or the folder read-only."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch.save and safetensors have errors of their own
        raise UserError(
            f"{folder} cannot be written ({error}). Make it writable, or free disk space; then start again: "
            f"the training goes on from its last checkpoint."
        ) from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Return a path to write to, which becomes `path` when all is on the disk, and is removed when anything fails."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode & 0o777  # the umask, which safetensors passes over
        yield partial
        partial.chmod(mode)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
