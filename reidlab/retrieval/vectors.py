"""Embeddings: vectors beside the table of their images, and what evaluations take from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float32, Int64, Shaped
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from reidlab.data.schema import load_table, save_table
from reidlab.errors import UserError
from reidlab.retrieval.mapped import mapped_vectors

__all__ = ["PIXELS", "Embeddings", "Labels", "as_slice", "both_sides"]

PIXELS = "pixels_digest"  # column of a table: equal where images are the same to the pixel


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors beside their table.

    Attributes:
        vectors: float32 [image, dim].
        table: image table, or a frame with the column path alone where nobody is known; row i has vector i.
        facts: how `embed` made them: engine, precision, device, cosine (mean, to float32 of torch, of a sample; NaN
            where it was not measured), images_per_second (decoding included where nothing was decoded before), tried
            (what was measured of other engines). Empty where nobody said; neither kept by `save` nor by `split`.
    """

    vectors: Float32[np.ndarray, "image dim"]
    table: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        columns = set(self.table.columns) if isinstance(self.table, pd.DataFrame) else set()
        if not ({"pid", "split"} <= columns or ("path" in columns and "pid" not in columns)):
            raise UserError("Embeddings need an image table (a frame with the columns pid and split), or one of paths.")
        shape = np.shape(self.vectors) if isinstance(self.vectors, np.ndarray) else type(self.vectors).__name__
        if not isinstance(self.vectors, np.ndarray) or self.vectors.ndim != 2 or len(self.vectors) != len(self.table):
            raise UserError(f"vectors of shape {shape} do not belong to a table of {len(self.table)} images.")

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Embeddings({len(self)} images, dim {self.vectors.shape[1]})"

    def split(self, *names: str) -> Embeddings:
        """Return the part in these splits, rows in their order; vectors that stand together are not copied.

        Raises:
            UserError: no image is in any of them, or the table has no splits.
        """
        splits = self._column("split")
        rows = np.flatnonzero(splits.isin(names).to_numpy())
        if not len(rows):
            there = ", ".join(sorted(map(str, splits.unique())))
            raise UserError(f"no embedding is in split {' or '.join(map(str, names))}; there is {there or 'none'}.")
        return Embeddings(self.vectors[as_slice(rows)], self.table.iloc[rows].reset_index(drop=True))

    @property
    def pids(self) -> Shaped[np.ndarray, " image"]:
        """Identities [image].

        Raises:
            UserError: the table has none.
        """
        return self._column("pid").to_numpy()

    @property
    def camids(self) -> Shaped[np.ndarray, " image"] | None:
        """Cameras [image], or None where the table has none."""
        return self.table["camid"].to_numpy() if "camid" in self.table else None

    @property
    def images(self) -> Shaped[np.ndarray, " image"] | None:
        """What tells images apart [image]: digests of their pixels where the table has them, or paths, or None."""
        known = next((name for name in (PIXELS, "path") if name in self.table), None)
        return None if known is None else self.table[known].to_numpy()

    def _column(self, name: str) -> pd.Series:
        if name not in self.table:
            raise UserError(
                f"these Embeddings have no {name}: their table has {', '.join(map(str, self.table.columns))}. "
                "Embed an image table (`reidlab.data.read`) where identities are needed."
            )
        return self.table[name]

    def save(self, folder: Path) -> None:
        """Write embeddings.safetensors and embeddings.parquet (the image table) into an existing folder."""
        save_file({"vectors": np.ascontiguousarray(self.vectors)}, folder / "embeddings.safetensors")
        save_table(self.table, folder / "embeddings.parquet")

    @classmethod
    def load(cls, folder: Path, *, mmap: bool = False) -> Embeddings:
        """Read what `save` wrote.

        Args:
            folder: where it is.
            mmap: leave the vectors on disk, read-only, where `evaluate` reads them piece by piece; they may be larger
                than the memory.

        Raises:
            UserError: the folder holds no embeddings, or a damaged file.
        """
        file = folder / "embeddings.safetensors"
        try:
            vectors = mapped_vectors(file) if mmap else load_file(file)["vectors"]
        except (OSError, KeyError, SafetensorError) as error:
            raise UserError(f"{folder} holds no readable embeddings ({error}). Make them with notebook 04.") from error
        return cls(vectors, load_table(folder / "embeddings.parquet"))


def as_slice(rows: Int64[np.ndarray, " row"]) -> slice | Int64[np.ndarray, " row"]:
    """Return row numbers that follow each other as a slice, which takes them out of an array without a copy."""
    runs = len(rows) and (np.diff(rows) == 1).all()
    return slice(int(rows[0]), int(rows[-1]) + 1) if runs else rows


class Labels(NamedTuple):
    """What an evaluation knows of one side's images, beside their vectors; None where nobody said."""

    pids: Any
    camids: Any = None
    images: Any = None


Side = tuple[Any, Labels]


def both_sides(
    query: Embeddings | npt.ArrayLike, gallery: Embeddings | npt.ArrayLike, of_query: Labels, of_gallery: Labels
) -> tuple[Side, Side]:
    """Return vectors and labels of query and gallery, whichever way they came.

    Args:
        query: `Embeddings`, or vectors.
        gallery: the same kind.
        of_query: what goes with vectors; Embeddings have their own.
        of_gallery: the same of the gallery.

    Raises:
        UserError: one is Embeddings and the other is not, labels beside Embeddings, or vectors without identities.
    """
    given = {f"query_{name}": value for name, value in of_query._asdict().items()}
    given |= {f"gallery_{name}": value for name, value in of_gallery._asdict().items()}
    if isinstance(query, Embeddings) and isinstance(gallery, Embeddings):
        twice = [name for name, value in given.items() if value is not None]
        if twice:
            raise UserError(
                f"{twice[0]} is given beside Embeddings, whose table says it already. Leave it out, or give "
                "query.vectors and gallery.vectors with all of their labels."
            )
        of_query, of_gallery = _labels(query, gallery)
        return (query.vectors, of_query), (gallery.vectors, of_gallery)
    if isinstance(query, Embeddings) or isinstance(gallery, Embeddings):
        one, other = ("query", "gallery") if isinstance(query, Embeddings) else ("gallery", "query")
        raise UserError(
            f"{one} is Embeddings and {other} is not: give two Embeddings, or the vectors and labels of both."
        )
    for name in ("query_pids", "gallery_pids"):
        if given[name] is None:
            raise UserError(
                f"{name} is missing: vectors say nothing about identities. Give it, or two Embeddings (`embed`)."
            )
    return (query, of_query), (gallery, of_gallery)


def _labels(*sides: Embeddings) -> list[Labels]:
    labels = [Labels(side.pids, side.camids, side.images) for side in sides]
    if len({PIXELS in side.table for side in sides}) == 1:
        return labels
    # digests beside paths are never equal, which would be no answer
    paths = [side.table.get("path") for side in sides]
    return [each._replace(images=None if path is None else path.to_numpy()) for each, path in zip(labels, paths)]
