"""The distances of vectors, made by blocks; and several runs' distances as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int64

from reidlab.errors import UserError, shown
from reidlab.retrieval.checks import check_choice, check_real
from reidlab.retrieval.distance_rows import Distances, as_distances
from reidlab.retrieval.reranking.given import vectors_alone
from reidlab.retrieval.scoring import Scorer

__all__ = ["Fusion", "PlainDistances", "fuse"]

SCALES = ("z-score", "min-max", "none")
HEAVIEST = 1e6

Floats = npt.NDArray[Any]


class PlainDistances(Distances):
    """The distances of vectors under their metric."""

    def __init__(self, scorer: Scorer, told: str = "") -> None:
        self.scorer, self.dtype = scorer, np.dtype(np.float64)
        self.shape = len(scorer.problem.query), len(scorer.problem.gallery)
        self.told = told or f"{scorer.problem.metric} distances"

    def rows(self, queries: Int64[np.ndarray, " row"]) -> Float[np.ndarray, "row gallery"]:
        """Return the distances of queries, given by their rows, to the whole gallery."""
        return self.scorer.table(queries)


class Fusion(Distances):
    """The weighted sum of several distances of the same images, each scaled query by query."""

    def __init__(self, runs: Sequence[Distances], weights: Sequence[float], scale: str) -> None:
        self.runs, self.weights, self.scale = runs, weights, scale
        self.shape, self.dtype = runs[0].shape, np.dtype(np.float64)
        shares = ", ".join(f"{weight:.3g}" for weight in weights)
        self.told = f"fusion of {len(runs)} runs ({scale}, weights {shares}): {'; '.join(run.told for run in runs)}"

    def rows(self, queries: Int64[np.ndarray, " row"]) -> Float[np.ndarray, "row gallery"]:
        """Return the fused distances of queries, given by their rows; z-scores may be negative."""
        total = np.zeros((len(queries), self.shape[1]))
        for run, weight in zip(self.runs, self.weights):
            total += weight * _scaled(run.rows(queries).astype(np.float64, copy=False), self.scale)
        return total


def _scaled(rows: Floats, scale: str) -> Floats:
    """Bring rows to mean 0 and deviation 1, or to the range from 0 to 1; rows of equal values to 0."""
    if scale == "none":
        return rows
    lowest = rows.min(axis=1, keepdims=True)
    spread = rows.max(axis=1, keepdims=True) - lowest
    if scale == "z-score":
        lowest, spread = rows.mean(axis=1, keepdims=True), np.where(spread > 0, rows.std(axis=1, keepdims=True), 0)
    return np.asarray((rows - lowest) / np.where(spread > 0, spread, 1)) * (spread > 0)


def fuse(
    runs: Sequence[Any],
    *,
    weights: Sequence[float] | None = None,
    scale: Literal["z-score", "min-max", "none"] = "z-score",
    metric: str = "cosine",
) -> Distances:
    """Add up the distances that several models (or methods) give to the same query and gallery images.

    `evaluate(query, gallery, rerank=fuse([...]))` scores them; the identities are those of its query and gallery.

    Args:
        runs: for each what `rerank` returned, numbers [query, gallery], or a pair (query, gallery) of `Embeddings` or
            vectors.
        weights: a number of 0 or more a run; they are divided by their sum. None: the same for all.
        scale: distances of different runs are not comparable: of each query they are brought to mean 0 and deviation 1
            ("z-score"), or to the range from 0 to 1 ("min-max"), or left alone ("none").
        metric: of pairs of vectors, "cosine" or "euclidean".

    Returns:
        Distances [query, gallery], made when they are asked for.

    Raises:
        UserError: no run, runs of different images, weights that do not fit.
    """
    check_choice("scale", scale, SCALES)
    if not isinstance(runs, Sequence) or isinstance(runs, str) or not len(runs):
        raise UserError(f"runs={shown(runs)} must be a list of distances, or of pairs (query, gallery).")
    made: list[Distances] = []
    for number, run in enumerate(runs):
        if isinstance(run, tuple) and len(run) == 2:
            run = PlainDistances(Scorer(vectors_alone(*run, metric=metric)))
        made.append(as_distances(f"runs[{number}]", run, made[0].shape if made else None))
    given: Any = [1.0] * len(made) if weights is None else weights
    if isinstance(given, str) or not hasattr(given, "__len__") or len(given) != len(made):
        raise UserError(f"weights={shown(given)} must be a number for each of the {len(made)} runs.")
    checked = [check_real(f"weights[{at}]", weight, 0, HEAVIEST) for at, weight in enumerate(given)]
    if not sum(checked):
        raise UserError("weights are all 0: nothing is left.")
    return Fusion(made, [weight / sum(checked) for weight in checked], scale)
