"""Embeddings of an image table by a trained model."""

from __future__ import annotations

import functools
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from reidlab.data.pixels import PixelStore
from reidlab.data.schema import check_table
from reidlab.data.streaming import PixelStream
from reidlab.errors import UserError, shown
from reidlab.models.engines.base import Job, check_engine, of_model
from reidlab.models.engines.choice import Choice, ready
from reidlab.models.inference import embed_rows
from reidlab.paths import data_root, expanded
from reidlab.progress import say
from reidlab.retrieval.checks import check_whole
from reidlab.retrieval.vectors import Embeddings

__all__ = ["embed"]

_SAMPLE = 32  # images on which engines are compared, and as many to calibrate on
_ReadImages = Callable[[], UInt8[Tensor, "image 3 height width"]]


def embed(
    model: nn.Module,
    table: pd.DataFrame | Sequence[str | os.PathLike[str]],
    *,
    device: str = "auto",
    precision: str = "float32",
    engine: str = "torch",
    flip: bool = False,
    batch_size: int | None = None,
    pixels: PixelStore | None = None,
    progress: bool = True,
) -> Embeddings:
    """Embed every image of a table, or of a list of files.

    Pixels of a table are decoded once and kept below data/cache/pixels. A list of files of any length is decoded while
    earlier ones are computed, and nothing of it is kept.

    The last bits of a vector depend on the machine, its libraries, the number of threads and the batch size; where
    `batch_size` is None, on what memory was free.

    Args:
        model: gives embeddings in eval mode and has `.preprocess` (`reidlab.models.build`, `load_model`).
        table: image table; or a list of paths, which gives `Embeddings` whose table has the column path alone.
        device: cpu, cuda, mps or auto.
        precision: float32; bfloat16 or auto on request (two to eight times faster where the hardware has it; the third
            digit of a score may move); int8 on request (openvino and onnxruntime, for wide networks such as ResNet-50
            on a CPU: quantised after calibration on up to 32 of the images, so that vectors depend a little on which
            images are embedded together); whatever else an engine has.
        engine: torch; another that `reidlab engines` lists, prepared for the model first (seconds, minutes for
            compiled); or auto: the fastest that is installed, by a measurement of this model on this machine, where
            the number of images pays for that. Engines whose mean cosine to torch's float32 is below 0.999 (0.995 in
            other precisions than float32) are never chosen by auto; named ones warn. int8 that is below is refused.
        flip: add each mirrored image's embedding and L2-normalise.
        batch_size: images at once; None chooses by free memory.
        pixels: store of the table's images (not for a list); None decodes at the model's size.
        progress: show bars.

    Raises:
        UserError: an empty or bad table, images that do not decode, a model without preprocess or with damaged
            weights, an engine that is not installed, does not have the precision or cannot compute the model.
    """
    given = check_table(table) if isinstance(table, pd.DataFrame) else _files(table)
    images = given.drop_duplicates(["path"], ignore_index=True) if list(given.columns) == ["path"] else given
    if not len(images):
        raise UserError("The table has no images to embed.")
    preprocess = of_model(model)
    if batch_size is not None:
        batch_size = check_whole("batch_size", batch_size, 1, 2**31)
    device, precision = check_engine(engine, precision, device)
    source = _source(images, pixels, (preprocess.height, preprocess.width), progress)
    with source if isinstance(source, PixelStream) else nullcontext():
        job = Job(device, precision, batch_size, *_samples(source))
        chosen = ready(model, engine, job, len(images) * (1 + flip))
        vectors, facts = _embedded(chosen, source, flip, progress)
    if images is not given:
        vectors = vectors[pd.Index(images["path"]).get_indexer(given["path"])]
    return Embeddings(vectors, given, facts)


def _source(
    images: pd.DataFrame, pixels: PixelStore | None, size: tuple[int, int], progress: bool
) -> PixelStore | PixelStream:
    """Return where the images' pixels come from: the store given, one that is kept for a table, a stream for files."""
    if pixels is None:
        if list(images.columns) == ["path"]:
            return PixelStream(images["path"].tolist(), size)
        return PixelStore.build(images, data_root() / "cache" / "pixels", size=size, progress=progress)
    if not isinstance(pixels, PixelStore):
        raise UserError(f"pixels must be a PixelStore, not {type(pixels).__name__}.")
    if pixels.n_images != len(images):
        raise UserError(f"the pixel store has {pixels.n_images} images, the table {len(images)}.")
    return pixels


def _samples(source: PixelStore | PixelStream) -> tuple[_ReadImages, _ReadImages]:
    """Return two functions that read a few images from all over the source: to measure engines, to calibrate int8.

    No image is in both.
    """
    rows = np.linspace(0, source.n_images - 1, min(source.n_images, 2 * _SAMPLE)).round().astype(np.int64)
    return functools.cache(lambda: source.batch(rows[::2])), functools.cache(lambda: source.batch(rows[1::2]))


def _embedded(
    chosen: Choice, source: PixelStore | PixelStream, flip: bool, progress: bool
) -> tuple[Float32[np.ndarray, "image dim"], dict[str, Any]]:
    """Return the embeddings of all images of a source, and how they were made."""
    ready = chosen.prepared
    if ready.engine != "torch" or chosen.tried:
        if progress:
            say(f"engine {chosen}")
        if not chosen.near:
            warnings.warn(
                f"engine={ready.engine!r}, precision={ready.precision!r}: the mean cosine to torch's float32 is "
                f"{chosen.cosine:.4f} on a sample, too little to be taken for the same embeddings.",
                stacklevel=3,
            )
    began = time.perf_counter()
    vectors = embed_rows(
        ready.module,
        source,  # type: ignore[arg-type]  # a stream has what is asked of a store
        np.arange(source.n_images),
        ready.compute,
        flip=flip,
        batch_size=ready.batch_size,
        progress=progress,
    )
    facts = {
        "engine": ready.engine,
        "precision": ready.precision,
        "device": ready.described(),
        "cosine": chosen.cosine,
        **({} if np.isnan(chosen.lowest) else {"lowest_cosine": chosen.lowest}),
        "images_per_second": len(vectors) / max(time.perf_counter() - began, 1e-9),
        "tried": list(chosen.tried),
    }
    return vectors, facts


def _files(given: Sequence[str | os.PathLike[str]]) -> pd.DataFrame:
    """Return a frame of absolute paths, one row per path given; one file may stand there twice."""
    if isinstance(given, str | bytes | os.PathLike) or not isinstance(given, Sequence):
        raise UserError(f"images are an image table or a list of paths, not {shown(given)}. One file: [path].")
    odd = [each for each in given if not isinstance(each, str | os.PathLike)]
    if odd:
        raise UserError(f"a list of images has {shown(odd[0])}, which is no path.")
    return pd.DataFrame({"path": [str(expanded(each, "image").absolute()) for each in given]}, dtype=object)
