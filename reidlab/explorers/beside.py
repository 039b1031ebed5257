"""Vectors beside the table that an explorer shows, and who is nearest."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32

from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.retrieval.vectors import Embeddings

__all__ = ["partners", "vectors_beside"]


def vectors_beside(embeddings: Embeddings, table: pd.DataFrame) -> Float32[np.ndarray, "image dim"]:
    """Return the vectors of a table's images in its order, found by their paths where both have them.

    Raises:
        UserError: an image of the table has none.
    """
    if "path" not in embeddings.table or "path" not in table:
        if len(embeddings) != len(table):
            raise UserError(f"{len(embeddings)} embeddings do not belong to a table of {len(table)} images.")
        return embeddings.vectors
    first = np.flatnonzero(~embeddings.table["path"].duplicated().to_numpy())
    at = pd.Index(embeddings.table["path"].iloc[first]).get_indexer(table["path"])
    missing = np.flatnonzero(at < 0)
    if len(missing):
        raise UserError(
            f"The embeddings lack {len(missing):,} of the table's images, the first is "
            f"{table['path'].iloc[missing[0]]}. Embed this table."
        )
    return embeddings.vectors[first[at]]


def partners(
    table: pd.DataFrame, row: int, units: Float[np.ndarray, "image dim"] | None, *, most: int = 12
) -> list[int]:
    """Return images to compare one with: the nearest by cosine, or, without vectors, those of its identity first.

    Images of the gallery where the table has one, never the image itself; without vectors the others follow in the
    table's order.

    Args:
        table: image table.
        row: of the image.
        units: unit vectors [image, dim], or None.
        most: images at most.
    """
    usable = np.ones(len(table), bool)
    gallery = (table["split"] == "gallery").to_numpy(bool) if "split" in table else usable
    usable = gallery.copy() if gallery.sum() > gallery[row] else usable
    usable[row] = False
    if units is None:
        known = ~(is_junk(table) | is_distractor(table)).to_numpy(bool)
        keys = -((table["pid"] == table["pid"].iloc[row]).to_numpy(bool) & known).astype(float)
    else:
        keys = -(units @ units[row]).astype(np.float64)
    order = np.argsort(np.where(usable, keys, np.inf), kind="stable")
    return [int(at) for at in order[: min(most, int(usable.sum()))]]
