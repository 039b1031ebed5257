"""Filling a pixel store: parallel, resumable block by block, and only where the disk has room for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reidlab.data.images import decode, naming, open_bytes, read_file
from reidlab.progress import bar
from reidlab.space import check_space

__all__ = ["INDEX", "MARKS", "PIXELS", "Plan", "fill"]

PIXELS, INDEX, MARKS = "pixels.u8", "index.npz", "blocks"
_BLOCK = 512  # images decoded between two marks of progress
_ZEROS = 2**23  # bytes written at a time where the system cannot reserve them
# The file system cannot reserve blocks: some network, FUSE and copy-on-write ones.
_CANNOT_RESERVE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


@dataclass(frozen=True)
class Plan:
    """What a store is made of.

    Attributes:
        paths: the files, a row each.
        ranges: of each file the value that becomes 255, for images of more than 8 bits; None where there are none.
        size: (height, width) of every image, or None where sizes are native.
        workers: decoding threads.
        progress: show bars.
    """

    paths: Sequence[str]
    ranges: Sequence[float] | None
    size: tuple[int, int] | None
    workers: int
    progress: bool

    def decoded(self, row: int) -> np.ndarray:
        """Return one image, uint8 [height, width, 3]."""
        return decode(self.paths[row], self.size, None if self.ranges is None else self.ranges[row])


def fill(plan: Plan, store: Path) -> None:
    """Decode block by block into the file; `blocks` has a byte per finished block, written after the block's pixels.

    Raises:
        UserError: an image is missing or does not decode, or the disk has too little room.
        OSError: the disk refuses to be written, or is full after all.
    """
    n = len(plan.paths)
    sizes = _native_sizes(plan) if plan.size is None else np.tile(np.array(plan.size, dtype=np.int64), (n, 1))
    ends = np.cumsum(sizes.prod(axis=1) * 3, dtype=np.int64)
    offsets = np.concatenate([[0], ends[:-1]]) if n else np.zeros(0, np.int64)
    pixels, marks_path = store / PIXELS, store / MARKS
    n_bytes = int(ends[-1]) if n else 0
    about = f"The pixel store of {n:,} images at " + (
        "their own sizes" if plan.size is None else "{}x{}".format(*plan.size)
    )
    check_space(store, n_bytes - _allocated(pixels, n_bytes) + 16 * 3 * n, about)
    np.savez(store / INDEX, offsets=offsets, sizes=sizes)
    if not n:
        return
    n_blocks = -(-n // _BLOCK)
    marks = bytearray(marks_path.read_bytes()) if marks_path.exists() else bytearray()
    whole = pixels.exists() and pixels.stat().st_size == n_bytes  # it had its size before the first mark was set
    marks = marks if whole and len(marks) == n_blocks else bytearray(n_blocks)
    _reserve(pixels, n_bytes)
    flat = np.memmap(pixels, dtype=np.uint8, mode="r+", shape=(n_bytes,))

    def one(row: int) -> None:
        flat[offsets[row] : ends[row]] = plan.decoded(row).reshape(-1)

    with (
        ThreadPoolExecutor(plan.workers) as pool,
        bar(total=n, desc="decoding images", unit="img", disable=not plan.progress) as shown,
    ):
        for block in range(n_blocks):
            rows = range(block * _BLOCK, min(n, (block + 1) * _BLOCK))
            if not marks[block]:
                list(pool.map(one, rows))
                flat.flush()
                marks[block] = 1
                marks_path.write_bytes(marks)
            shown.update(len(rows))


def _native_sizes(plan: Plan) -> np.ndarray:
    """Measure all files, upright: int64 [image, 2], height and width."""

    def one(row: int) -> tuple[int, int]:
        with naming(plan.paths[row]):
            return open_bytes(read_file(plan.paths[row])).image.size[::-1]

    found = _in_threads(one, len(plan.paths), plan, "measuring images")
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _in_threads(call: Callable[[int], object], n: int, plan: Plan, label: str) -> list[object]:
    with ThreadPoolExecutor(plan.workers) as pool:
        return list(bar(pool.map(call, range(n)), total=n, desc=label, unit="img", disable=not plan.progress))


def _allocated(path: Path, wanted: int) -> int:
    """Return the bytes of the disk that an earlier attempt has reserved already."""
    try:
        about = path.stat()
    except OSError:
        return 0
    return min(wanted, getattr(about, "st_blocks", 0) * 512)


def _reserve(path: Path, n_bytes: int) -> None:
    """Give the file its size and its blocks: a full disk must fail here; in the mapping it would be a SIGBUS."""
    with path.open("ab") as file:
        file.truncate(n_bytes)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, n_bytes)
                return
            except OSError as error:
                if error.errno not in _CANNOT_RESERVE:
                    raise
    if _allocated(path, n_bytes) < n_bytes:
        _write_through(path, n_bytes)


def _write_through(path: Path, n_bytes: int) -> None:
    """Write every byte of the file with what it holds (zeros, or pixels of an earlier attempt)."""
    with path.open("r+b") as file:
        for start in range(0, n_bytes, _ZEROS):
            file.seek(start)
            held = file.read(min(_ZEROS, n_bytes - start))
            file.seek(start)
            file.write(held)
        file.flush()
        os.fsync(file.fileno())
