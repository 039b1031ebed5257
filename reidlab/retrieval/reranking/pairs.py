"""Put the first images of each list in order by what judges pairs, such as the pair head of a Siamese network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int64

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_whole
from reidlab.retrieval.distance_rows import Distances
from reidlab.retrieval.reranking.given import vectors_alone
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Embeddings

__all__ = ["PairOrder", "rerank_pairs"]

Ints = npt.NDArray[np.int64]
Judge = Callable[[Ints, Ints], npt.ArrayLike]


class PairOrder(Distances):
    """Places in the list of each query, from 0: those of the first k images by pair scores, the others as they were."""

    def __init__(self, scorer: Scorer, judge: Judge, k: int) -> None:
        self.scorer, self.judge, self.dtype = scorer, judge, np.dtype(np.float64)
        self.shape = len(scorer.problem.query), len(scorer.problem.gallery)
        self.k = min(k, self.shape[1])
        self.told = f"first {self.k:,} by {scorer.problem.metric} in order of pair scores"

    def rows(self, queries: Int64[np.ndarray, " row"]) -> Float[np.ndarray, "row gallery"]:
        """Return the places of the whole gallery in the lists of queries, given by their rows."""
        order = np.argsort(self.scorer.table(queries), axis=1, kind="stable")
        first = order[:, : self.k]
        scores = np.asarray(self.judge(np.repeat(queries, self.k), first.ravel()), dtype=np.float64)
        if scores.shape != (first.size,) or not np.isfinite(scores).all():
            raise UserError(f"Pair scores must be {first.size:,} finite numbers, one for each pair.")
        by_pair = np.argsort(-scores.reshape(first.shape), axis=1, kind="stable")
        order[:, : self.k] = np.take_along_axis(first, by_pair, axis=1)
        places = np.empty(order.shape)
        np.put_along_axis(places, order, np.arange(order.shape[1], dtype=np.float64)[None, :], axis=1)
        return places


def rerank_pairs(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    judge: Judge,
    *,
    k: int = 50,
    metric: str = "cosine",
) -> Distances:
    """Reorder the first k gallery images of every query by a judge of pairs; what stands below stays as it was.

    The first k are those of the whole gallery, whatever their identities and cameras: a search does not know them.
    `evaluate(query, gallery, rerank=rerank_pairs(...))` scores the lists under its usual rule. Pairs of one score stay
    in the order of their distances.

    Args:
        query: `Embeddings` or vectors [query, dim].
        gallery: as query [gallery, dim].
        judge: given rows of queries and of gallery images [pair], returns how much each pair looks like one person
            [pair], larger for one person. It is asked for k pairs a query, some queries at a time.
        k: images of each list that are judged.
        metric: "cosine" or "euclidean".

    Returns:
        Places in the list [query, gallery], from 0, made when they are asked for.

    Raises:
        UserError: vectors that cannot be compared, k below 1; later, scores that are not a finite number for each pair.
    """
    k = check_whole("k", k, 1, 10**9)
    problem: Any = vectors_alone(query, gallery, metric=metric)
    return PairOrder(Scorer(problem), judge, k)
