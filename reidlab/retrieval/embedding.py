"""Embeddings of an image table by a trained model."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import nn

from reidlab.data.pixels import PixelStore
from reidlab.data.schema import check_table
from reidlab.data.transforms import Preprocess
from reidlab.devices import plan
from reidlab.errors import UserError, shown
from reidlab.models.inference import embed_rows
from reidlab.paths import data_root, expanded
from reidlab.retrieval.checks import check_whole
from reidlab.retrieval.vectors import Embeddings

__all__ = ["embed"]


def embed(
    model: nn.Module,
    table: pd.DataFrame | Sequence[str | os.PathLike[str]],
    *,
    device: str = "auto",
    precision: str = "float32",
    flip: bool = False,
    batch_size: int | None = None,
    pixels: PixelStore | None = None,
    progress: bool = True,
) -> Embeddings:
    """Embed every image of a table, or of a list of files.

    The last bits of a vector depend on the machine, its libraries, the number of threads and the batch size; where
    `batch_size` is None, on what memory was free.

    Args:
        model: gives embeddings in eval mode and has `.preprocess` (`reidlab.models.build`, `load_model`).
        table: image table; or a list of paths, which gives `Embeddings` whose table has the column path alone.
        device: cpu, cuda, mps or auto.
        precision: float32; bfloat16 or auto on request (two to eight times faster where the hardware has it; the third
            digit of a score may move).
        flip: add each mirrored image's embedding and L2-normalise.
        batch_size: images at once; None chooses by free memory.
        pixels: store of the table's images (not for a list); None decodes into data/cache/pixels at the model's size.
        progress: show bars.

    Raises:
        UserError: an empty or bad table, images that do not decode, a model without preprocess or with damaged weights.
    """
    given = check_table(table) if isinstance(table, pd.DataFrame) else _files(table)
    images = given.drop_duplicates(["path"], ignore_index=True) if list(given.columns) == ["path"] else given
    if not len(images):
        raise UserError("The table has no images to embed.")
    preprocess = getattr(model, "preprocess", None)
    if not isinstance(preprocess, Preprocess):
        kind = type(model).__name__
        raise UserError(f"{kind} has no `preprocess` (a Preprocess): how would pixels become its input?")
    if batch_size is not None:
        batch_size = check_whole("batch_size", batch_size, 1, 2**31)
    compute = plan(device, precision)
    if pixels is None:
        size = (preprocess.height, preprocess.width)
        pixels = PixelStore.build(images, data_root() / "cache" / "pixels", size=size, progress=progress)
    if not isinstance(pixels, PixelStore):
        raise UserError(f"pixels must be a PixelStore, not {type(pixels).__name__}.")
    if pixels.n_images != len(images):
        raise UserError(f"the pixel store has {pixels.n_images} images, the table {len(images)}.")
    rows = np.arange(len(images))
    placed = compute.place(model)
    vectors = embed_rows(placed, pixels, rows, compute, flip=flip, batch_size=batch_size, progress=progress)
    if images is given:
        return Embeddings(vectors, given)
    return Embeddings(vectors[pd.Index(images["path"]).get_indexer(given["path"])], given)


def _files(given: Sequence[str | os.PathLike[str]]) -> pd.DataFrame:
    """Return a frame of absolute paths, one row per path given; one file may stand there twice."""
    if isinstance(given, str | bytes | os.PathLike) or not isinstance(given, Sequence):
        raise UserError(f"images are an image table or a list of paths, not {shown(given)}. One file: [path].")
    odd = [each for each in given if not isinstance(each, str | os.PathLike)]
    if odd:
        raise UserError(f"a list of images has {shown(odd[0])}, which is no path.")
    return pd.DataFrame({"path": [str(expanded(each, "image").absolute()) for each in given]}, dtype=object)
