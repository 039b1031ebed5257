"""Validation on held-out training identities: what chooses the best checkpoint, so that query and gallery stay untouched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from torch import nn

from reidlab.data.pixels import PixelStore
from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.models.inference import embed_rows

__all__ = ["Validator", "make_validator"]

Validator = Callable[[nn.Module], dict[str, float]]


def make_validator(
    table: pd.DataFrame, pixels: PixelStore, compute: ComputePlan, *, max_queries: int = 2000, seed: int = 0
) -> Validator | None:
    """Build a function that scores a model on the val split, or None where the table has none.

    With cameras every image is a query against all others from other cameras. Without, one image of each identity
    is a query and the rest is the gallery.

    Args:
        table: image table beside `pixels`.
        pixels: uint8 store.
        compute: device and precision.
        max_queries: a random subset of queries where there are more.
        seed: chooses that subset, or the queries where there are no cameras.
    """
    rows = np.flatnonzero((table["split"] == "val").to_numpy())
    if not len(rows):
        return None
    val = table.iloc[rows]
    rng = np.random.default_rng(seed)
    pids = val["pid"].to_numpy()
    cameras = val["camid"].to_numpy() if "camid" in val else None
    if cameras is not None:
        query = np.sort(rng.permutation(len(val))[:max_queries])
        gallery = np.arange(len(val))
    else:
        shuffled = pd.Series(rng.permutation(len(val)))
        query = np.sort(shuffled.groupby(pids[shuffled]).first().to_numpy())
        gallery = np.setdiff1d(np.arange(len(val)), query)

    def validate(model: nn.Module) -> dict[str, float]:
        from reidlab.retrieval.metrics import evaluate  # torch-free, below training

        vectors = embed_rows(model, pixels, rows, compute)
        try:
            result = evaluate(
                vectors[query],
                vectors[gallery],
                query_pids=pids[query],
                query_camids=None if cameras is None else cameras[query],
                gallery_pids=pids[gallery],
                gallery_camids=None if cameras is None else cameras[gallery],
            )
        except UserError as error:
            raise UserError(f"The validation split cannot be scored: {error}") from error
        return {"val_map": result.mean_ap, "val_rank1": float(result.cmc[0])}

    return validate
