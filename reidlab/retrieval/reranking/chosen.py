"""Re-rank vectors by a method chosen by name, without identities: distances, or other vectors."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_real
from reidlab.retrieval.distance_rows import BLOCK_MIB, Distances
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.reranked import described, made_by
from reidlab.retrieval.reranking.given import vectors_alone
from reidlab.retrieval.reranking.plain import PlainDistances
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Embeddings

__all__ = ["refine_vectors", "rerank"]


def rerank(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    method: str = "k_reciprocal",
    metric: str = "cosine",
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    block_mib: float = BLOCK_MIB,
    **options: Any,
) -> Distances:
    """Return re-ranked distances of queries to gallery images, made by blocks when they are asked for.

    No identity is used, so that junk plays its part: leave it out before, as `evaluate(..., rerank=method)` does.
    `evaluate(..., rerank=distances)` scores what is returned, `np.asarray(distances)` holds all of it.

    Args:
        query: `Embeddings`, or vectors [query, dim].
        gallery: `Embeddings`, or vectors [gallery, dim].
        method: a name of `reidlab rerankings`, by default that of Zhong et al. (CVPR 2017).
        metric: "cosine" or "euclidean": how vectors are compared that a method has changed. k_reciprocal has its own
            option `distance`: by default Euclidean distances of vectors of length 1, as published.
        query_camids: cameras [query], where the method needs them and vectors alone are given.
        gallery_camids: cameras [gallery].
        block_mib: memory for scores at a time.
        options: of the method: k1=20, k2=6, lambda_value=0.3, top=None for k_reciprocal; `reidlab rerankings NAME`
            explains them.

    Returns:
        Distances [query, gallery], smaller is closer.

    Raises:
        UserError: an unknown method or option, a value out of its range, or vectors that cannot be compared.
    """
    told = described(method, options)
    block_mib = check_real("block_mib", block_mib, 0, 2**30, open_ends=True)
    cameras = {"query_camids": query_camids, "gallery_camids": gallery_camids}
    made = made_by(vectors_alone(query, gallery, metric=metric, **cameras), method, options, block_mib)
    if isinstance(made, Problem):
        return PlainDistances(Scorer(made), told)
    made.told = told
    return made


def refine_vectors(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    method: str = "alpha_qe",
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    block_mib: float = BLOCK_MIB,
    **options: Any,
) -> tuple[Any, Any]:
    """Return query and gallery with the vectors that a method puts in their place, of the kind that was given.

    Args:
        query: `Embeddings`, or vectors [query, dim].
        gallery: `Embeddings`, or vectors [gallery, dim].
        method: aqe, alpha_qe, dba, nfc or camera_mean (or another one of `reidlab rerankings` that changes vectors).
        query_camids: cameras [query], where the method needs them and vectors alone are given.
        gallery_camids: cameras [gallery].
        block_mib: memory for scores at a time.
        options: of the method; `reidlab rerankings NAME` explains them.

    Raises:
        UserError: as `rerank`, or a method that makes distances and no vectors.
    """
    described(method, options)
    block_mib = check_real("block_mib", block_mib, 0, 2**30, open_ends=True)
    cameras = {"query_camids": query_camids, "gallery_camids": gallery_camids}
    made = made_by(vectors_alone(query, gallery, metric="euclidean", **cameras), method, options, block_mib)
    if not isinstance(made, Problem):
        raise UserError(f"method={method!r} makes distances, not vectors: use `rerank` in its place.")
    new = zip((query, gallery), (made.query, made.gallery))
    changed = [Embeddings(each, side.table) if isinstance(side, Embeddings) else each for side, each in new]
    return changed[0], changed[1]
