"""Arrays in files: told to other processes of this machine by their place, so that nobody needs a copy."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Mapped", "place_of"]


class Mapped(NamedTuple):
    """Where an array lies: file, the byte that it begins at, its type as NumPy writes it, and its shape."""

    file: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    def open(self) -> npt.NDArray[Any]:
        """Return the array, mapped for reading."""
        return np.memmap(self.file, self.dtype, mode="r", offset=self.offset, shape=self.shape)


def place_of(array: npt.NDArray[Any]) -> Mapped | None:
    """Return where an array lies if it is a piece of a memory-mapped file without gaps; else None.

    None too where the file says something else: it was deleted or written anew, or changes of the array are its own
    (mode "c").
    """
    whole: Any = array
    while whole is not None and not isinstance(whole, np.memmap):
        whole = getattr(whole, "base", None)
    while whole is not None and isinstance(whole.base, np.memmap):  # a slice of a map has the offset of the whole
        whole = whole.base
    if whole is None or not whole.filename or whole.mode == "c" or not array.flags.c_contiguous or not array.size:
        return None
    offset = whole.offset + array.ctypes.data - whole.ctypes.data
    place = Mapped(os.fspath(whole.filename), int(offset), array.dtype.str, array.shape)
    try:
        there = place.open()
    except (OSError, ValueError):
        return None
    ends = [0, -1]
    return place if there[ends].tobytes() == array[ends].tobytes() else None
