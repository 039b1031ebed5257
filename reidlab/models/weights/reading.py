"""Files of weights, read without running code from them, in bounded time and memory, into tensors that can be used."""

from __future__ import annotations

import argparse
import hashlib
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as numpy_scalar
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.inference import free_memory
from reidlab.models.weights.pickles import REMEDY, check_pickle
from reidlab.paths import exists

__all__ = ["file_digest", "read_object", "read_weights", "usable"]

MAX_HEADER = 16 * 2**20  # bytes of a safetensors header; a thousand tensors have 0.1 MB
MAX_NAME = 512  # characters
MAX_NESTS = 16
_NESTS = ("state_dict", "model_state_dict", "model_state", "model", "teacher", "network", "net")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
_NUMPY_SCALARS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64", "bool")),
    (numpy_scalar, "numpy.core.multiarray.scalar"),  # as NumPy 1 wrote it
    numpy_scalar,
]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, for keys of runs that depend on it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_object(path: str | Path) -> Any:
    """Read what torch.save or safetensors wrote, on the CPU, without running code from it.

    Beside tensors and plain values, NumPy scalars and argparse namespaces are read (published checkpoints keep scores
    and options in them).

    Raises:
        UserError: the file is missing, damaged, larger than the memory that is free, or holds objects that only code
            could rebuild (it is refused unread).
    """
    path = Path(path)
    what = f"weights file {path}"
    size = _file_bytes(path, what)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([*_NUMPY_SCALARS, argparse.Namespace]):
            warnings.simplefilter("ignore")  # torch's, about kinds of tensors that are refused here
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file

                _check_header(path, size)
                return load_file(path)
            _check_pickles(path, what, size)
            return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:
        # beside UnpicklingError, damaged files raise nearly anything: KeyError, struct.error, IndexError ...
        raise UserError(f"{what} is not readable as plain tensors ({_reason(error)}).") from error


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read tensors by name from a .pth, .pt or .safetensors file, also from inside a training checkpoint.

    Raises:
        UserError: as `read_object` and `usable`, or no tensors by name are in it.
    """
    what = f"weights file {path}"
    content = found = read_object(path)
    for _ in range(MAX_NESTS):
        if not isinstance(found, dict):
            raise UserError(f"{what} holds a {type(found).__name__}, not tensors by name. {REMEDY}")
        content = dict(dict.items(found))  # whatever attributes the file gave a dict
        found = next((content[name] for name in _NESTS if isinstance(content.get(name), dict)), None)
        if found is None:
            break
    else:
        raise UserError(f"{what} has checkpoints inside checkpoints, more than {MAX_NESTS} deep. {REMEDY}")
    named = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not named:
        keys = ", ".join(str(key)[:40] for key in list(content)[:20]) or "nothing"
        raise UserError(f"{what} contains no named tensors; it has {keys}. {REMEDY}")
    return {name: usable(tensor, name, what) for name, tensor in named.items()}


def usable(tensor: Tensor, name: str, what: str) -> Tensor:
    """Return a tensor of a file as a plain one: dense, real, on the CPU, every number stored once.

    Args:
        tensor: as read.
        name: in the file.
        what: names the file in messages.

    Raises:
        UserError: naming the tensor, what is wrong with it, and what to save instead.
    """
    if len(name) > MAX_NAME:
        raise UserError(f"{what} has a tensor whose name has {len(name):,} characters ({name[:60]}...). {REMEDY}")
    kind, remedy = "", "save it as float32"
    whole = type(tensor) in (Tensor, nn.Parameter)
    plain = Tensor.detach(tensor) if whole else tensor  # without attributes that the file gave it
    if not whole:
        kind = f"a {type(tensor).__name__}"
    elif plain.is_nested or plain.layout is not torch.strided:
        kind, remedy = f"{'nested' if plain.is_nested else str(plain.layout)}, not dense", "save it by to_dense()"
    elif plain.is_quantized:
        kind, remedy = "quantised", "save the model before it is quantised, or its tensors by dequantize()"
    elif plain.device.type != "cpu":
        kind, remedy = f"on the device {plain.device.type!r}, without numbers", "save the model with its numbers"
    elif plain.is_complex():
        kind, remedy = "complex, and no network here is: its imaginary part would be lost", "save real weights"
    elif plain.dtype not in (*_FLOATS, *_WHOLE):
        kind = f"of type {plain.dtype}"
    elif plain.numel() * plain.element_size() > plain.untyped_storage().nbytes():
        kind, remedy = "one stored value that is repeated", "save it by contiguous()"
    if kind:
        raise UserError(f"{what}: tensor {name!r} is {kind}. This cannot be used as weights; {remedy}.")
    return plain


def _file_bytes(path: Path, what: str) -> int:
    """Return the size of a file; refuse what is none (a pipe never ends) and what the memory cannot hold."""
    if not exists(path):
        raise UserError(f"{what} does not exist.")
    if not path.is_file():
        raise UserError(f"{what} is not readable as plain tensors (it is a folder or a device, not a file).")
    size, free = path.stat().st_size, free_memory(torch.device("cpu"))
    if size > free:
        raise UserError(
            f"{what} has {size:,} bytes, and {free:,} bytes of memory are free. Save `model.state_dict()` alone, "
            "without the optimiser's state, or close other programs."
        )
    return size


def _check_header(path: Path, size: int) -> None:
    with path.open("rb") as file:
        start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 0 < length <= min(MAX_HEADER, size - 8):
        raise ValueError(
            f"its header claims {length:,} bytes; the file has {size:,}, and headers of up to {MAX_HEADER:,} are read"
        )


def _check_pickles(path: Path, what: str, size: int) -> None:
    """Refuse a file of torch.save whose pickles or archive would not be read in bounded time and memory."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            _check_archive(path, what, size)
            return
        file.seek(0)
        # as before torch 1.6: magic number, version, system, content, names of the storages that follow
        scans = [check_pickle(file, what, size) for _ in range(5)]
    lacking = scans[3][0] - scans[4][1]
    if lacking:
        raise UserError(f"{what} is not readable as plain tensors ({len(lacking)} of its tensors have no numbers).")


def _check_archive(path: Path, what: str, size: int) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename.lower() for entry in entries]
        total = sum(entry.file_size for entry in entries)
        if total > size:
            raise ValueError(
                f"its archive is compressed: {total:,} bytes in {size:,}. torch.save does not compress; unpack it and "
                "zip it without compression, or save it again"
            )
        # Python's reader and torch's would read different archives
        if len(set(names)) < len(names) or min(entry.header_offset for entry in entries) or archive.comment:
            raise ValueError("its archive is not as torch.save writes it")
        for entry in entries:
            if entry.filename.lower().endswith(".pkl"):
                with archive.open(entry) as file:
                    check_pickle(file, what, size)


def _reason(error: Exception) -> str:
    """Return what went wrong in a line of plain text; torch's own words advise to load without its safety check."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    code = re.search(r"GLOBAL ([\w.<>]+)", text)
    if code:
        return f"it holds {code[1][:100]}, which only code could rebuild; save `model.state_dict()` alone"
    inner = re.search(r"WeightsUnpickler error: (.+)", text)
    lines = [line.strip() for line in (inner[1] if inner else text).splitlines() if line.strip()]
    if not lines or "eights only" in lines[0] or "weights_only" in lines[0]:
        return "it holds more than tensors and plain values, or is damaged"
    return lines[0][:300]
