"""Embeddings of an image table by a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn

from reidlab.data.pixels import PixelStore
from reidlab.data.schema import check_table, load_table, save_table
from reidlab.data.transforms import Preprocess
from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models.inference import embed_rows
from reidlab.paths import data_root
from reidlab.retrieval.checks import check_whole

__all__ = ["Embeddings", "embed"]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors beside their table.

    Attributes:
        vectors: float32 [image, dim].
        table: image table; row i has vector i.
    """

    vectors: np.ndarray
    table: pd.DataFrame

    def __post_init__(self) -> None:
        if not isinstance(self.table, pd.DataFrame) or not {"pid", "split"} <= set(self.table.columns):
            raise UserError("Embeddings need an image table (a frame with the columns pid and split).")
        shape = np.shape(self.vectors) if isinstance(self.vectors, np.ndarray) else type(self.vectors).__name__
        if not isinstance(self.vectors, np.ndarray) or self.vectors.ndim != 2 or len(self.vectors) != len(self.table):
            raise UserError(f"vectors of shape {shape} do not belong to a table of {len(self.table)} images.")

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Embeddings({len(self)} images, dim {self.vectors.shape[1]})"

    def split(self, *names: str) -> Embeddings:
        """Return the part in these splits, rows in their order.

        Raises:
            UserError: no image is in any of them.
        """
        rows = np.flatnonzero(self.table["split"].isin(names).to_numpy())
        if not len(rows):
            there = ", ".join(sorted(map(str, self.table["split"].unique())))
            raise UserError(f"no embedding is in split {' or '.join(map(str, names))}; there is {there or 'none'}.")
        return Embeddings(self.vectors[rows], self.table.iloc[rows].reset_index(drop=True))

    @property
    def pids(self) -> np.ndarray:
        """Identities [image]."""
        return self.table["pid"].to_numpy()

    @property
    def camids(self) -> np.ndarray | None:
        """Cameras [image], or None where the table has none."""
        return self.table["camid"].to_numpy() if "camid" in self.table else None

    def save(self, folder: Path) -> None:
        """Write embeddings.safetensors and embeddings.parquet (the table) into an existing folder."""
        save_file({"vectors": np.ascontiguousarray(self.vectors)}, folder / "embeddings.safetensors")
        save_table(self.table, folder / "embeddings.parquet")

    @classmethod
    def load(cls, folder: Path) -> Embeddings:
        """Read what `save` wrote.

        Raises:
            UserError: the folder holds no embeddings, or a damaged file.
        """
        try:
            vectors = load_file(folder / "embeddings.safetensors")["vectors"]
        except (OSError, KeyError, SafetensorError) as error:
            raise UserError(f"{folder} holds no readable embeddings ({error}). Make them with notebook 04.") from error
        return cls(vectors, load_table(folder / "embeddings.parquet"))


def embed(
    model: nn.Module,
    table: pd.DataFrame,
    *,
    device: str = "auto",
    precision: str = "float32",
    flip: bool = False,
    batch_size: int | None = None,
    pixels: PixelStore | None = None,
    progress: bool = True,
) -> Embeddings:
    """Embed every image of a table.

    The last bits of a vector depend on the machine, its libraries, the number of threads and the batch size; where
    `batch_size` is None, on what memory was free.

    Args:
        model: gives embeddings in eval mode and has `.preprocess` (`reidlab.models.build`, `load_model`).
        table: image table.
        device: cpu, cuda, mps or auto.
        precision: float32; bfloat16 or auto on request (two to eight times faster where the hardware has it; the third
            digit of a score may move).
        flip: add each mirrored image's embedding and L2-normalise.
        batch_size: images at once; None chooses by free memory.
        pixels: store beside the table; None decodes into data/cache/pixels at the model's size.
        progress: show bars.

    Raises:
        UserError: an empty or bad table, images that do not decode, a model without preprocess or with damaged weights.
    """
    table = check_table(table)
    if not len(table):
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
        pixels = PixelStore.build(table, data_root() / "cache" / "pixels", size=size, progress=progress)
    if not isinstance(pixels, PixelStore):
        raise UserError(f"pixels must be a PixelStore, not {type(pixels).__name__}.")
    if pixels.n_images != len(table):
        raise UserError(f"the pixel store has {pixels.n_images} images, the table {len(table)}.")
    rows = np.arange(len(table))
    placed = compute.place(model)
    vectors = embed_rows(placed, pixels, rows, compute, flip=flip, batch_size=batch_size, progress=progress)
    return Embeddings(vectors, table)
