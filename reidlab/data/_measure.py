"""Numbers of single image files for the audit, measured in worker processes that know neither torch nor pandas."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np
from PIL import Image

__all__ = ["SHARPNESS_SIZE", "THUMBNAIL_SIZE", "Measured", "measure", "measure_all"]

SHARPNESS_SIZE = (64, 128)  # width, height: sharpness depends on the size it is measured at
THUMBNAIL_SIZE = (8, 16)  # width, height of the grey thumbnail that near duplicates are compared by
_CHUNK = 256
_INLINE = 512  # below this, starting processes takes longer than the work


class Measured(NamedTuple):
    """What is known of one file; `error` is "" where it decodes, and the numbers are 0 where it does not."""

    width: int = 0
    height: int = 0
    brightness: float = 0.0
    sharpness: float = 0.0
    file_bytes: int = 0
    error: str = ""
    pixels: str = ""
    dhash: int = 0
    thumbnail: bytes = b""


def measure(path: str) -> Measured:
    """Decode one file and measure it.

    brightness: mean of the grey image, 0 to 255. sharpness: variance of the Laplacian of the grey image, resized to
    `SHARPNESS_SIZE`. pixels: SHA-1 of the size and the RGB values, so that a re-wrapped copy counts as the same.
    dhash: one bit for each of 8 x 8 neighbouring pairs in a row of the 9 x 8 grey image, 1 where it gets brighter.
    """
    try:
        size = os.stat(path).st_size  # noqa: PTH116
    except OSError as error:
        return Measured(error=error.strerror or str(error))
    if size == 0:
        return Measured(error="the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata, which is no concern here
            with Image.open(path) as image:
                rgb = image.convert("RGB")
    except Exception as error:  # decoders raise whatever they like on damaged files
        return Measured(file_bytes=size, error=f"{type(error).__name__}: {error}".replace(path, "the file"))
    grey = rgb.convert("L")
    digest = hashlib.sha1(repr(rgb.size).encode() + rgb.tobytes(), usedforsecurity=False).hexdigest()
    steps = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(steps[:, 1:] > steps[:, :-1])
    return Measured(
        width=rgb.width,
        height=rgb.height,
        brightness=float(np.asarray(grey).mean()),
        sharpness=_sharpness(grey),
        file_bytes=size,
        pixels=digest,
        dhash=int.from_bytes(bits.tobytes(), "big"),
        thumbnail=grey.resize(THUMBNAIL_SIZE, Image.Resampling.BOX).tobytes(),
    )


def _sharpness(grey: Image.Image) -> float:
    plane = np.asarray(grey.resize(SHARPNESS_SIZE, Image.Resampling.BILINEAR), dtype=np.float32)
    middle = plane[1:-1, 1:-1]
    laplacian = plane[:-2, 1:-1] + plane[2:, 1:-1] + plane[1:-1, :-2] + plane[1:-1, 2:] - 4 * middle
    return float(laplacian.var())


def _measure_chunk(paths: Sequence[str]) -> list[Measured]:
    return [measure(path) for path in paths]


def measure_all(paths: Sequence[str], workers: int) -> Iterator[list[Measured]]:
    """Measure files in order, a chunk at a time; `workers` 0 or 1, or few files: in this process."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    done = 0
    if workers > 1 and len(paths) >= _INLINE:
        # spawn: a fork would copy the threads of torch and faiss in a state that nobody knows
        context = multiprocessing.get_context("spawn")
        try:
            with ProcessPoolExecutor(workers, mp_context=context) as pool:
                for measured in pool.map(_measure_chunk, chunks):
                    yield measured
                    done += 1
        except BrokenProcessPool:  # a script without a __main__ guard, or a worker killed: go on here
            pass
    for chunk in chunks[done:]:
        yield _measure_chunk(chunk)
