"""List the nearest gallery images of chosen queries with their flags, for pictures of rankings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError
from reidlab.retrieval.inputs import METRICS, Problem, as_vectors, check_choice, ids_array, prepare
from reidlab.retrieval.ranking import Scorer

__all__ = ["FLAGS", "rank_gallery"]

FLAGS = ("wrong", "right", "ignored")


def rank_gallery(
    query: Any,
    gallery: Any,
    *,
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any = None,
    gallery_camids: Any = None,
    queries: Any = None,
    k: int = 10,
    metric: str = "cosine",
    show_ignored: bool = True,
) -> pd.DataFrame:
    """List the `k` nearest gallery images of chosen queries.

    Args:
        query: vectors [query, dim]; the other arrays as in `evaluate`.
        gallery: vectors [gallery, dim].
        query_pids: identities [query].
        gallery_pids: identities [gallery].
        query_camids: cameras [query] or None.
        gallery_camids: cameras [gallery] or None.
        queries: rows of `query` to list, all by default.
        k: images to list a query; fewer where the gallery has fewer.
        metric: "cosine" or "euclidean".
        show_ignored: keep junk and images of the same identity and camera in their place, flagged "ignored".

    Returns:
        A frame with a row a listed image: query, position (from 1), gallery (row), flag (right / wrong / ignored),
        rank (among the valid images; 0 for ignored ones), and similarity (cosine) or distance (euclidean).

    Raises:
        UserError: k or a query row out of range, or as `evaluate`.
    """
    check_choice("metric", metric, METRICS)
    query = as_vectors("query", query, metric)
    pids = ids_array("query_pids", query_pids, len(query), "query")
    camids = None if query_camids is None else ids_array("query_camids", query_camids, len(query), "query")
    chosen = np.arange(len(query)) if queries is None else np.atleast_1d(np.asarray(queries))
    if k < 1 or not len(chosen) or chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= len(query):
        raise UserError(f"k={k} must be at least 1, and queries must be row numbers from 0 to {len(query) - 1}.")
    problem = prepare(
        query[chosen],
        gallery,
        query_pids=pids[chosen],
        query_camids=None if camids is None else camids[chosen],
        gallery_pids=gallery_pids,
        gallery_camids=gallery_camids,
        metric=metric,
        keep_junk=True,
    )
    scorer = Scorer(problem)
    return pd.concat(
        [_nearest(problem, scorer, at, k, show_ignored).assign(query=row) for at, row in enumerate(chosen.tolist())],
        ignore_index=True,
    )[["query", "position", "gallery", "flag", "rank", "similarity" if metric == "cosine" else "distance"]]


def _top_columns(scores: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    """Give the columns of the `k` largest scores, best first, ties in column order."""
    k = min(k, len(scores))
    limit = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= limit)
    return candidates[np.argsort(-scores[candidates], kind="stable")[:k]]


def _nearest(problem: Problem, scorer: Scorer, at: int, k: int, show_ignored: bool) -> pd.DataFrame:
    """List the nearest images of one query."""
    dots = scorer.multiply(problem.query[at])
    scores = scorer.finish(dots, np.empty_like(dots))
    right = problem.gallery_codes == problem.query_codes[at]
    ignored = problem.gallery_codes == -1
    if problem.query_cams is not None:
        ignored |= right & (problem.gallery_cams == problem.query_cams[at])
    if not show_ignored:
        scores = np.where(ignored, -np.inf, scores)
        k = min(k, int((~ignored).sum()))
    columns = _top_columns(scores, k) if k else np.zeros(0, np.int64)
    flags = np.where(ignored[columns], 2, right[columns].astype(int))
    valid = flags < 2
    # the k nearest images of all begin with the nearest valid ones, so counting those listed gives their ranks
    distance = scorer.distance(np.full(len(columns), at), scores[columns])
    return pd.DataFrame(
        {
            "position": np.arange(1, len(columns) + 1),
            "gallery": columns,
            "flag": np.array(FLAGS)[flags],
            "rank": np.where(valid, np.cumsum(valid), 0),
            "similarity": 1 - distance,
            "distance": distance,
        }
    )
