"""Read vectors from a safetensors file without loading them: pages come into memory when they are used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open

__all__ = ["mapped_vectors"]


def mapped_vectors(file: Path) -> Float32[np.ndarray, "image dim"]:
    """Return the float32 array called "vectors" of a safetensors file, read-only and memory-mapped.

    Raises:
        SafetensorError: the file is damaged, or its vectors are not a float32 table.
        KeyError: it has no vectors.
        OSError: it cannot be read.
    """
    with safe_open(file, framework="numpy") as checked:  # its header is whole and fits the file
        if "vectors" not in checked.keys():  # noqa: SIM118  # it is no dict
            raise KeyError("vectors")
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(length))["vectors"]
    if entry["dtype"] != "F32" or len(entry["shape"]) != 2:
        raise SafetensorError(f"vectors are {entry['dtype']} of shape {entry['shape']}")
    shape = (int(entry["shape"][0]), int(entry["shape"][1]))
    if 0 in shape:  # nothing can be mapped
        return np.zeros(shape, np.float32)
    return np.memmap(file, np.float32, mode="r", offset=8 + length + entry["data_offsets"][0], shape=shape)
