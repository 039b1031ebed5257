"""The pixel store: every image decoded once to uint8 in one memory-mapped file, indexed by table row.

Layout: `pixels.u8` is a raw file. Resized stores are [image, height, width, 3]; native stores put images of any size
one after another, with offsets and sizes in `index.npz`. height, width, channel is also torch's channels_last, so a
batch is one gather and no copy. Decoding is parallel and resumable: blocks of images are marked done one by one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from PIL import Image, ImageOps
from torch import Tensor
from tqdm.auto import tqdm

from reidlab.errors import UserError

__all__ = ["PixelStore", "decode"]

_BLOCK = 512  # images decoded between two marks of progress


def decode(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode one image file to uint8 [height, width, 3], turned upright by its EXIF tag.

    Args:
        path: the file.
        size: (height, width) to resize to (bilinear, antialiased); None keeps the native size.

    Raises:
        UserError: the file is missing or is no image.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Was the data set moved? Read it anew (notebook 01).") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files: struct.error, EOFError ...
        raise UserError(f"{path} does not decode ({error}). Leave it out: notebook 01 lists such files.") from error
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)


@dataclass(frozen=True)
class PixelStore:
    """Decoded images of one table.

    Attributes:
        folder: where the store lies.
        n_images: rows.
        size: (height, width) of every image, or None where sizes are native.
    """

    folder: Path
    n_images: int
    size: tuple[int, int] | None

    @classmethod
    def build(
        cls,
        table: pd.DataFrame,
        folder: Path,
        *,
        size: tuple[int, int] | None = (128, 64),
        workers: int | None = None,
        progress: bool = True,
    ) -> PixelStore:
        """Open the store of this table below `folder`, decoding what is not there yet.

        A store is named by the digest of the files (path, bytes, time of change) and the size, so a changed data set
        gets a new one. A build that was stopped goes on where it was; two processes that want the same store make it
        once.

        Args:
            table: image table; row i of the store is row i of the table.
            folder: parent of all stores, usually data/cache/pixels.
            size: (height, width) to resize to, or None for native sizes.
            workers: decoding threads (Pillow decodes outside the interpreter lock); None: one a core.
            progress: show a bar.

        Raises:
            UserError: an image is missing or does not decode (the first such file is named), the size is not positive,
                or the disk is full or refuses to be written.
        """
        if size is not None and min(size) < 1:
            raise UserError(f"size={size} (height, width) of a pixel store must be positive.")
        paths = table["path"].tolist()
        store = folder / _digest(paths, size)
        workers = workers or os.cpu_count() or 1
        try:
            store.mkdir(parents=True, exist_ok=True)
            with FileLock(str(store / "lock")):
                if not (store / "done.json").exists():
                    sizes = _native_sizes(paths, workers, progress) if size is None else None
                    _fill(paths, store, size, sizes, workers, progress)
        except OSError as error:
            raise UserError(
                f"The pixel store at {store} cannot be written ({error}). Free disk space, or allow writing there, and "
                "start again: it resumes."
            ) from error
        return cls(store, len(paths), size)

    @cached_property
    def flat(self) -> np.ndarray:
        """All bytes, memory-mapped read-only."""
        if self.n_images == 0:
            return np.zeros(0, np.uint8)
        return np.memmap(self.folder / "pixels.u8", dtype=np.uint8, mode="r")

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        with np.load(self.folder / "index.npz") as index:
            return index["offsets"], index["sizes"]

    def image(self, row: int) -> np.ndarray:
        """Give one image, uint8 [height, width, 3]."""
        if not 0 <= row < self.n_images:
            raise IndexError(f"row {row} is outside the store's {self.n_images} images")
        if self.size is not None:
            return self.flat.reshape(self.n_images, *self.size, 3)[row]
        offsets, sizes = self._index
        height, width = (int(n) for n in sizes[row])
        return self.flat[offsets[row] : offsets[row] + height * width * 3].reshape(height, width, 3)

    def batch(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Give images as uint8 [batch, 3, height, width] in channels_last memory; the store must be resized.

        Raises:
            UserError: the store keeps native sizes.
            IndexError: a row below 0 or beyond the store.
        """
        if self.size is None:
            raise UserError(
                "This pixel store keeps native sizes; batches need a store built with size=(height, width)."
            )
        wanted = np.asarray(rows, dtype=np.int64)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < self.n_images:
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} are not within the store's {self.n_images} images")
        gathered = self.flat.reshape(self.n_images, *self.size, 3)[wanted]
        return torch.from_numpy(np.ascontiguousarray(gathered)).permute(0, 3, 1, 2)


def _digest(paths: Sequence[str], size: tuple[int, int] | None) -> str:
    digest = hashlib.sha256(json.dumps(["pixels-1", size]).encode())
    for path in paths:
        try:
            stat = Path(path).stat()
        except OSError:
            raise UserError(f"{path} does not exist. Was the data set moved? Read it anew (notebook 01).") from None
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    label = "native" if size is None else f"{size[0]}x{size[1]}"
    return f"{label}-{digest.hexdigest()[:12]}"


def _in_threads(call: Callable[[int], object], n: int, workers: int | None, label: str, progress: bool) -> list[object]:
    with ThreadPoolExecutor(workers) as pool:
        return list(tqdm(pool.map(call, range(n)), total=n, desc=label, unit="img", disable=not progress, leave=False))


def _native_sizes(paths: Sequence[str], workers: int | None, progress: bool) -> np.ndarray:
    def one(i: int) -> tuple[int, int]:
        try:
            with Image.open(paths[i]) as image:
                width, height = ImageOps.exif_transpose(image).size
        except Exception as error:  # as in `decode`
            raise UserError(
                f"{paths[i]} does not decode ({error}). Leave it out: notebook 01 lists such files."
            ) from error
        return height, width

    return np.array(_in_threads(one, len(paths), workers, "measuring images", progress), dtype=np.int64).reshape(-1, 2)


def _fill(
    paths: Sequence[str],
    store: Path,
    size: tuple[int, int] | None,
    sizes: np.ndarray | None,
    workers: int,
    progress: bool,
) -> None:
    """Decode block by block into the file; `blocks` has a byte per finished block, written after the block's pixels."""
    n = len(paths)
    if sizes is None:
        assert size is not None
        sizes = np.tile(np.array(size, dtype=np.int64), (n, 1))
    ends = np.cumsum(sizes.prod(axis=1) * 3, dtype=np.int64)
    offsets = np.concatenate([[0], ends[:-1]]) if n else np.zeros(0, np.int64)
    np.savez(store / "index.npz", offsets=offsets, sizes=sizes)
    n_blocks = -(-n // _BLOCK)
    marks_path = store / "blocks"
    marks = bytearray(marks_path.read_bytes()) if marks_path.exists() else bytearray()
    marks = marks if len(marks) == n_blocks else bytearray(n_blocks)
    if n:
        flat = _open_flat(store / "pixels.u8", int(ends[-1]))

        def one(i: int) -> None:
            flat[offsets[i] : ends[i]] = decode(paths[i], size).reshape(-1)

        with (
            ThreadPoolExecutor(workers) as pool,
            tqdm(total=n, desc="decoding images", unit="img", disable=not progress, leave=False) as bar,
        ):
            for block in range(n_blocks):
                rows = range(block * _BLOCK, min(n, (block + 1) * _BLOCK))
                if not marks[block]:
                    list(pool.map(one, rows))
                    flat.flush()
                    marks[block] = 1
                    marks_path.write_bytes(marks)
                bar.update(len(rows))
    temporary = store / "done.json.partial"
    temporary.write_text(json.dumps({"n_images": n, "size": size}))
    temporary.replace(store / "done.json")


def _open_flat(path: Path, n_bytes: int) -> np.memmap:
    with path.open("ab") as file:
        file.truncate(n_bytes)
        if hasattr(os, "posix_fallocate"):  # a full disk must fail here: in the mapping it would be a SIGBUS
            os.posix_fallocate(file.fileno(), 0, n_bytes)
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=(n_bytes,))
