"""Batches made in the background while the model works on the one before, with the time spent waiting for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

from reidlab.data.pixels import PixelStore
from reidlab.data.transforms import Augment, Preprocess
from reidlab.devices import ComputePlan, outside_autocast

__all__ = ["BatchMaker", "Prefetcher", "trimmed"]

Item = TypeVar("Item")


class BatchMaker:
    """Turn rows into augmented, normalised input; the draws depend on (seed, epoch, step) alone.

    Args:
        pixels: uint8 store.
        augment: random changes.
        preprocess: the model's.
        compute: where the batch goes; augmentation runs there.
        seed: integer of 0 or more.
    """

    def __init__(
        self, pixels: PixelStore, augment: Augment, preprocess: Preprocess, compute: ComputePlan, seed: int
    ) -> None:
        self.pixels, self.augment, self.preprocess = pixels, augment, preprocess
        self.compute, self.seed = compute, seed

    def __call__(self, rows: np.ndarray, epoch: int, step: int, part: slice = slice(None)) -> Tensor:
        """Return float32 [batch, 3, height, width] in the plan's memory format.

        Args:
            rows: of the table.
            epoch, step: from 0.
            part: what is wanted of the batch. All of it is augmented: its pixels do not depend on who wants which part.
        """
        draws = np.random.SeedSequence([self.seed, epoch, step]).generate_state(1, np.uint64)[0]
        generator = Generator().manual_seed(int(draws) >> 1)
        with outside_autocast(self.compute.device.type):  # around us where BN statistics are made anew
            images = self.compute.place(self.pixels.batch(rows))
            images = self.augment(images, generator, fill=self.preprocess.mean)
            return self.preprocess(images[part]).contiguous(memory_format=self.compute.memory_format)


class Prefetcher(Generic[Item]):
    """Iterate, once and inside `with`, over `make(i)` for i in range(n), made by one thread up to `ahead` items early.

    Attributes:
        waited: seconds the consumer spent waiting so far.
    """

    def __init__(self, make: Callable[[int], Item], n: int, ahead: int = 2) -> None:
        self.n = n
        self.waited = 0.0
        self._make = make
        self._queue: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="reidlab-batches")

    def _put(self, item: Item | None, error: BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    def _work(self) -> None:
        # OpenMP keeps a team of threads for each thread that asks, and idle teams spin: with more than one thread here
        # the step beside it takes up to twice its time on two cores.
        torch.set_num_threads(1)
        try:
            for i in range(self.n):
                if self._stop.is_set():
                    return
                self._put(self._make(i), None)
        except BaseException as error:  # handed to the consumer, which raises it
            self._put(None, error)

    def __enter__(self) -> Prefetcher[Item]:
        self._n_threads = torch.get_num_threads()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        torch.set_num_threads(self._n_threads)  # what the maker set is also what later threads would begin with

    def _next(self) -> tuple[Item | None, BaseException | None]:
        while True:
            alive = self._thread.is_alive()  # before the queue: a thread that is done has put everything in it
            try:
                return self._queue.get(timeout=0.5 if alive else 0)
            except queue.Empty:
                if not alive:
                    raise RuntimeError("no batch is being made: iterate once, inside `with Prefetcher(...)`") from None

    def __iter__(self) -> Iterator[Item]:
        for _ in range(self.n):
            start = time.perf_counter()
            item, error = self._next()
            self.waited += time.perf_counter() - start
            if error is not None:
                raise error
            yield item  # type: ignore[misc]


def trimmed(batches: Sequence[np.ndarray], accumulate: int) -> list[np.ndarray]:
    """Cut an epoch to whole groups of `accumulate` batches, so that no gradient is left over between epochs.

    An epoch with fewer than `accumulate` batches repeats them (augmented anew) to make one group.
    """
    whole = len(batches) // accumulate * accumulate
    return list(batches[:whole]) if whole else [batches[i % len(batches)] for i in range(accumulate)]
