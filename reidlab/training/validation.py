"""Validation on held-out training identities chooses the best checkpoint, so that query and gallery stay untouched."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from torch import nn

from reidlab.data.answers import answered
from reidlab.data.pixels import PixelStore
from reidlab.data.schema import is_distractor, is_junk
from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.models.inference import embed_rows
from reidlab.training.recipes import Recipe

__all__ = ["Validator", "check_watched", "make_validator"]

Validator = Callable[[nn.Module], dict[str, float]]


def make_validator(
    table: pd.DataFrame, pixels: PixelStore, compute: ComputePlan, *, max_queries: int = 2000, seed: int = 0
) -> Validator | None:
    """Build a function that scores a model on the val split, or None where the table has none.

    With cameras every image is a query against all others from other cameras. Without, one image of each identity is a
    query and the rest is the gallery. Junk is left out, distractors are gallery alone. Where no query has a right
    answer (every identity seen by one camera, or only once) nothing can be scored: that is None too, with a warning,
    and training goes on without.

    Args:
        table: image table beside `pixels`.
        pixels: uint8 store.
        compute: device and precision.
        max_queries: a random subset of queries where there are more.
        seed: chooses that subset, or the queries where there are no cameras.
    """
    rows = np.flatnonzero(((table["split"] == "val") & ~is_junk(table)).to_numpy())
    if not len(rows):
        return None
    val = table.iloc[rows]
    pids = val["pid"].to_numpy()
    cameras = val["camid"].to_numpy() if "camid" in val else None
    query, gallery = _queries(pids, cameras, ~is_distractor(val).to_numpy(), max_queries, seed)
    if not len(query):
        known = cameras is not None
        remedy = "remove the camera column to compare within cameras" if known else "add images"
        warnings.warn(
            f"Training continues without validation, and its last epoch is kept: no validation identity has two images"
            f"{' in different cameras' if known else ''}. Hold out more identities (val_share), or {remedy}.",
            stacklevel=2,
        )
        return None

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


def check_watched(validator: object | None, recipe: Recipe) -> None:
    """Refuse a schedule that follows the validation mAP where nothing is validated.

    Raises:
        UserError: saying what to do.
    """
    if validator is None:
        raise UserError(
            f"schedule {recipe.schedule['name']!r} follows the validation mAP, but nothing can be validated: "
            "hold out identities (val_share), or choose another schedule."
        )


def _queries(
    pids: np.ndarray, cameras: np.ndarray | None, somebody: np.ndarray, max_queries: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Choose positions of queries and gallery; no query where none of `somebody` has a right answer."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"pid": pids})
    if cameras is None:
        shuffled = pd.Series(rng.permutation(len(pids)))
        shuffled = shuffled[somebody[shuffled]]
        query = np.sort(shuffled.groupby(pids[shuffled]).first().to_numpy())
        scored = (frame.groupby("pid")["pid"].transform("size") > 1).to_numpy() & somebody
        gallery = np.setdiff1d(np.arange(len(pids)), query)
        query = query[scored[query]]
        return (query if len(query) <= max_queries else np.sort(rng.permutation(query)[:max_queries])), gallery
    drawn = rng.permutation(len(pids))
    query = np.sort(drawn[somebody[drawn]][:max_queries])
    frame = frame.assign(camid=cameras)
    scored = answered(frame, frame) & somebody
    if not scored[query].any():  # none, or none in this draw
        query = np.flatnonzero(scored)[:max_queries]
    return query, np.arange(len(pids))
