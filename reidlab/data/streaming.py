"""Images decoded shortly before they are needed, while others are computed: nothing is kept, on disk or in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from reidlab.data.images import decode
from reidlab.data.transforms.preprocess import check_size

__all__ = ["PixelStream"]

_BATCHES = 2  # decoded ahead of the one that is asked for


class PixelStream:
    """The images of files in batches, as `PixelStore` gives them, for one pass in order.

    Threads decode the rows that follow while a batch is worked on: at most two batches ahead, whatever the number of
    files. A context manager; leaving it ends the threads.

    Args:
        paths: the files.
        size: (height, width) of every image.
        workers: decoding threads (Pillow decodes outside the interpreter lock); None: one per core.

    Raises:
        UserError: the size is out of bounds; on `batch`, a file is missing or does not decode.
    """

    def __init__(self, paths: Sequence[str], size: tuple[int, int], *, workers: int | None = None) -> None:
        check_size(*size, "size of a pixel stream")
        self.paths, self.size, self.n_images = list(paths), size, len(paths)
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        self._coming: dict[int, Future[np.ndarray]] = {}

    def batch(self, rows: Sequence[int] | Int[np.ndarray, " batch"]) -> UInt8[Tensor, "batch 3 height width"]:
        """Return images in channels_last memory, and begin to decode those that follow the last of them.

        Raises:
            UserError: a file is missing or does not decode.
            IndexError: a row below 0 or beyond the files.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if not len(wanted):
            return torch.zeros((0, 3, *self.size), dtype=torch.uint8)
        if not 0 <= wanted.min() <= wanted.max() < self.n_images:
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} are not within the {self.n_images} images")
        asked = [int(row) for row in wanted]
        after = range(asked[-1] + 1, min(asked[-1] + 1 + _BATCHES * len(asked), self.n_images))
        for row in [*asked, *after]:
            if row not in self._coming:
                self._coming[row] = self._pool.submit(decode, self.paths[row], self.size)
        found = np.stack([self._coming[row].result() for row in asked])
        kept = set(after)
        for row in [each for each in self._coming if each not in kept]:
            self._coming.pop(row).cancel()
        return torch.from_numpy(found).permute(0, 3, 1, 2)

    def __enter__(self) -> PixelStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
