"""The pixel store: every image decoded once to uint8 in one memory-mapped file, indexed by table row.

Layout: `pixels.u8` is a raw file. Resized stores are [image, height, width, 3]; native stores put images of any size
one after another, with offsets and sizes in `index.npz`. height, width, channel is also torch's channels_last, so a
batch is one gather and no copy. How it is filled is in `reidlab.data.filling`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from torch import Tensor

from reidlab.data.contents import content_digests
from reidlab.data.filling import INDEX, MARKS, PIXELS, Plan, fill
from reidlab.data.images import decode
from reidlab.data.scales import ranges_of
from reidlab.data.transforms.preprocess import check_size
from reidlab.errors import UserError

__all__ = ["PixelStore", "decode"]

DONE = "done.json"


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

        A store is named by the digest of what the files hold, of their scale (column `value_range`, images of more than
        8 bits) and of the size, so a changed data set gets a new one. A build that was stopped goes on where it was;
        one that fails is removed; two processes that want the same store make it once; one whose files were deleted or
        cut is made again.

        Args:
            table: image table; row i of the store is row i of the table.
            folder: parent of all stores, usually data/cache/pixels.
            size: (height, width) to resize to, or None for native sizes.
            workers: decoding threads (Pillow decodes outside the interpreter lock); None: one per core.
            progress: show a bar.

        Raises:
            UserError: an image is missing or does not decode (the first such file is named), the size is out of bounds,
                or the disk has no room for the store or refuses to be written.
        """
        if size is not None:
            check_size(*size, "size of a pixel store")
        paths, ranges = table["path"].tolist(), ranges_of(table)
        store = cls(folder / _name(paths, size, ranges), len(paths), size)
        if store.problem():
            plan = Plan(
                paths, None if ranges is None else ranges.tolist(), size, workers or os.cpu_count() or 1, progress
            )
            try:
                store.folder.mkdir(parents=True, exist_ok=True)
                with FileLock(str(store.folder / "lock")):
                    store._make(plan)
            except OSError as error:
                raise UserError(
                    f"The pixel store at {store.folder} cannot be written ({error.strerror or error}). Free disk "
                    "space, or allow writing there, or point REIDLAB_DATA at another folder."
                ) from error
        return store

    def problem(self) -> str:
        """Return what the folder lacks for a finished store; "" where it is whole."""
        try:
            done = json.loads((self.folder / DONE).read_text(encoding="utf-8"))
            whole = done == {"n_images": self.n_images, "size": None if self.size is None else list(self.size)}
            _, sizes = self._read_index()
            wanted = int(sizes.prod(axis=1, dtype=np.int64).sum()) * 3
            found = (self.folder / PIXELS).stat().st_size if self.n_images else 0
        except FileNotFoundError as error:
            return f"{Path(str(error.filename)).name} is missing"
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            return f"it cannot be read ({error})"
        if not whole or len(sizes) != self.n_images:
            return f"{DONE} and index.npz do not belong to it"
        return "" if found == wanted else f"{PIXELS} has {found:,} bytes instead of {wanted:,}"

    def _make(self, plan: Plan) -> None:
        """Decode what is not there yet, with the lock held."""
        problem = self.problem()
        if not problem:
            return  # another process made it while this one waited
        if (self.folder / DONE).exists():
            logging.getLogger(__name__).warning("%s is made again: %s.", self.folder, problem)
            self._clear()
        try:
            fill(plan, self.folder)
        except (UserError, OSError):  # what cannot be finished takes no room; what was stopped goes on another time
            self._clear()
            raise
        temporary = self.folder / f"{DONE}.partial"
        temporary.write_text(json.dumps({"n_images": self.n_images, "size": self.size}), encoding="utf-8")
        temporary.replace(self.folder / DONE)

    def _clear(self) -> None:
        for name in (DONE, f"{DONE}.partial", MARKS, INDEX, PIXELS):
            with suppress(OSError):
                (self.folder / name).unlink()

    @cached_property
    def flat(self) -> np.ndarray:
        """All bytes, memory-mapped read-only.

        Raises:
            UserError: the store's files were deleted or cut since it was built.
        """
        problem = self.problem()
        if problem:
            raise UserError(f"The pixel store {self.folder} is damaged: {problem}. Build it again.")
        if self.n_images == 0:
            return np.zeros(0, np.uint8)
        return np.memmap(self.folder / PIXELS, dtype=np.uint8, mode="r")

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        return self._read_index()

    def _read_index(self) -> tuple[np.ndarray, np.ndarray]:
        # opened here: NumPy leaves a file that is no archive open
        with (self.folder / INDEX).open("rb") as file, np.load(file) as index:
            return index["offsets"], index["sizes"]

    def image(self, row: int) -> np.ndarray:
        """Return one image, uint8 [height, width, 3]."""
        if not 0 <= row < self.n_images:
            raise IndexError(f"row {row} is outside the store's {self.n_images} images")
        if self.size is not None:
            return self.flat.reshape(self.n_images, *self.size, 3)[row]
        offsets, sizes = self._index
        height, width = (int(n) for n in sizes[row])
        return self.flat[offsets[row] : offsets[row] + height * width * 3].reshape(height, width, 3)

    def batch(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Return images as uint8 [batch, 3, height, width] in channels_last memory; the store must be resized.

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


def _name(paths: Sequence[str], size: tuple[int, int] | None, ranges: np.ndarray | None) -> str:
    about = ["pixels-2", size, content_digests(paths), None if ranges is None else ranges.tolist()]
    label = "native" if size is None else f"{size[0]}x{size[1]}"
    return f"{label}-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]}"
