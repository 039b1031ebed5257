"""Numbers of single image files for the audit, measured in worker processes that know neither torch nor pandas."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np
from PIL import Image

from reidlab.data.images import Bad, extent, has_transparency, open_bytes, read_file, said, to_rgb

__all__ = ["NEEDS_RANGE", "SHARPNESS_SIZE", "THUMBNAIL_SIZE", "File", "Measured", "measure", "measure_all"]

NEEDS_RANGE = ("whole", "real")  # kinds of images that have no colours without the scale of their data set
File = tuple[str, float | None]

SHARPNESS_SIZE = (64, 128)  # width, height: sharpness depends on the size it is measured at
THUMBNAIL_SIZE = (8, 16)  # width, height of the grey thumbnail that near duplicates are compared by
_CHUNK = 256
_INLINE = 512  # below this, starting processes takes longer than the work


class Measured(NamedTuple):
    """What is known of one file; `error` is "" where it decodes, and the numbers are 0 where it does not.

    An image of more than 8 bits that was measured without its scale has a `kind` and its highest value `high`, and the
    numbers that depend on its colours are 0.
    """

    width: int = 0
    height: int = 0
    brightness: float = 0.0
    sharpness: float = 0.0
    file_bytes: int = 0
    error: str = ""
    pixels: str = ""
    dhash: int = 0
    mode: str = ""
    kind: str = ""
    high: float = 0.0
    transparent: bool = False
    thumbnail: bytes = b""


def measure(path: str, value_range: float | None = None) -> Measured:
    """Decode one file and measure it, upright as it will be trained on.

    brightness: mean of the grey image, 0 to 255. sharpness: variance of the Laplacian of the grey image, resized to
    `SHARPNESS_SIZE`. pixels: SHA-1 of the size and the RGB values, so that a re-wrapped copy counts as the same.
    dhash: one bit for each of 8 x 8 neighbouring pairs in a row of the 9 x 8 grey image, 1 where it gets brighter.

    Args:
        path: the file.
        value_range: the value that becomes 255, for images of more than 8 bits.
    """
    size = 0
    try:
        data = read_file(path)
        size = len(data)
        opened = open_bytes(data)
        kind, _, high = extent(opened)
        known = Measured(*opened.image.size, file_bytes=size, mode=opened.image.mode, kind=kind, high=high)
        if kind in NEEDS_RANGE and value_range is None:
            return known
        rgb = to_rgb(opened, value_range)
        known = known._replace(transparent=has_transparency(opened))
    except Bad as error:
        return Measured(file_bytes=size, error=str(error))
    except OSError as error:
        return Measured(error=error.strerror or str(error))
    except Exception as error:  # a name that no file can have, no memory
        return Measured(file_bytes=size, error=said(error).replace(path, "the file"))
    grey = rgb.convert("L")
    digest = hashlib.sha1(repr(rgb.size).encode() + rgb.tobytes(), usedforsecurity=False).hexdigest()
    steps = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(steps[:, 1:] > steps[:, :-1])
    return known._replace(
        brightness=float(np.asarray(grey).mean()),
        sharpness=_sharpness(grey),
        pixels=digest,
        dhash=int.from_bytes(bits.tobytes(), "big"),
        thumbnail=grey.resize(THUMBNAIL_SIZE, Image.Resampling.BOX).tobytes(),
    )


def _sharpness(grey: Image.Image) -> float:
    plane = np.asarray(grey.resize(SHARPNESS_SIZE, Image.Resampling.BILINEAR), dtype=np.float32)
    middle = plane[1:-1, 1:-1]
    laplacian = plane[:-2, 1:-1] + plane[2:, 1:-1] + plane[1:-1, :-2] + plane[1:-1, 2:] - 4 * middle
    return float(laplacian.var())


def _measure_chunk(files: Sequence[File]) -> list[Measured]:
    return [measure(*file) for file in files]


def measure_all(files: Sequence[File], workers: int) -> Iterator[list[Measured]]:
    """Measure files (paths, and the ranges of values where known) in order, a chunk at a time.

    `workers` 0 or 1, or few files: in this process.
    """
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    done = 0
    if workers > 1 and len(files) >= _INLINE:
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
