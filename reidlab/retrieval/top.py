"""List the nearest gallery images of chosen queries with their flags, for pictures of rankings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.ids import as_ids
from reidlab.retrieval.checks import check_whole
from reidlab.retrieval.distance_rows import BLOCK_MIB
from reidlab.retrieval.inputs import Problem, problem_of
from reidlab.retrieval.nearest import top_columns
from reidlab.retrieval.reranked import Rerank, scorer_of
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["FLAGS", "rank_gallery"]

FLAGS = ("wrong", "right", "ignored")


def rank_gallery(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    query_pids: npt.ArrayLike | None = None,
    gallery_pids: npt.ArrayLike | None = None,
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    queries: npt.ArrayLike | None = None,
    k: int = 10,
    metric: str = "cosine",
    show_ignored: bool = True,
    query_images: npt.ArrayLike | None = None,
    gallery_images: npt.ArrayLike | None = None,
    rerank: Rerank = "",
    rerank_options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """List the `k` nearest gallery images of chosen queries.

    Equal images tie and equal queries have equal lists, as in `evaluate`. Two different images whose scores differ in
    their last bits may stand in another order than `evaluate` counted them in.

    Args:
        query: `Embeddings`, or vectors [query, dim] with their labels; all of it as in `evaluate`.
        gallery: the same kind.
        query_pids: identities [query].
        gallery_pids: identities [gallery].
        query_camids: cameras [query] or None.
        gallery_camids: cameras [gallery] or None.
        queries: rows of `query` to list, all by default.
        k: images to list a query; fewer where the gallery has fewer.
        metric: "cosine" or "euclidean".
        show_ignored: keep junk, images of the same identity and camera and the query itself in their place, flagged
            "ignored".
        query_images: what each query is [query], as in `evaluate`.
        gallery_images: what each gallery image is [gallery].
        rerank: a re-ranking method, or distances [query, gallery], as in `evaluate`; junk is not listed then.
        rerank_options: of the method.

    Returns:
        A frame with a row a listed image: query, position (from 1), gallery (row), flag (right / wrong / ignored),
        rank (among the valid images; 0 for ignored ones), and similarity (cosine) or distance (all others).

    Raises:
        UserError: k or a query row out of range, or as `evaluate`.
    """
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    as_vectors_are = isinstance(rerank, str) and not rerank
    problem = problem_of(query, gallery, *labels, metric=metric, keep_junk=as_vectors_are)
    n_gallery = len(problem.gallery) if as_vectors_are else len(problem.gallery) + problem.n_junk
    k = check_whole("k", k, 1, 2**31)
    n_query = len(problem.query)
    chosen = np.arange(n_query) if queries is None else _chosen(queries, n_query)
    problem = problem.for_queries(chosen) if as_vectors_are else problem
    scorer, _ = scorer_of(problem, rerank, rerank_options, n_gallery=n_gallery, block_mib=BLOCK_MIB)
    lists = _lists(problem, scorer, np.arange(len(chosen)) if as_vectors_are else chosen, k, show_ignored)
    columns = ["query", "position", "gallery", "flag", "rank", scorer.shown]
    frames = [frame.assign(query=row) for frame, row in zip(lists, chosen.tolist())]
    return pd.concat(frames, ignore_index=True)[columns]


def _lists(
    problem: Problem, scorer: Scorer, rows: npt.NDArray[np.int64], k: int, show_ignored: bool
) -> list[pd.DataFrame]:
    """List the nearest images of these queries; equal queries share one row of products."""
    frames: dict[int, pd.DataFrame] = {}
    dots, whose = np.empty(0), -1
    for at in np.argsort(scorer.query_first[rows], kind="stable").tolist():
        row = int(rows[at])
        if scorer.query_first[row] != whose:
            whose = int(scorer.query_first[row])
            dots = scorer.multiply(np.array([whose]))[0]
        frames[at] = _nearest(problem, scorer, row, dots, k, show_ignored)
    return [frames[at] for at in range(len(rows))]


def _chosen(queries: Any, n_query: int) -> npt.NDArray[np.int64]:
    """Return row numbers of queries; a single one may stand alone."""
    why = f"got {shown(queries)}"
    try:
        rows = as_ids("queries", [queries] if isinstance(queries, int | np.integer) else queries)
    except UserError as error:
        rows, why = np.zeros(0, np.int64), str(error)
    if rows.dtype != np.int64 or not len(rows) or rows.min() < 0 or rows.max() >= n_query:
        raise UserError(f"queries must be row numbers from 0 to {n_query - 1}, and one at least; {why}")
    return rows


def _nearest(
    problem: Problem, scorer: Scorer, at: int, dots: npt.NDArray[Any], k: int, show_ignored: bool
) -> pd.DataFrame:
    """List the nearest images of one query, given its products with the gallery."""
    scores = scorer.finish(dots, np.empty_like(dots))
    right = problem.gallery_codes == problem.query_codes[at]
    ignored = problem.is_ignored(at, slice(None))
    if not show_ignored:
        scores = np.where(ignored, -np.inf, scores)
        k = min(k, int((~ignored).sum()))
    columns = top_columns(scores, k) if k else np.zeros(0, np.int64)
    flags = np.where(ignored[columns], 2, right[columns].astype(int))
    valid = flags < 2
    # the k nearest images of all begin with the nearest valid ones, so counting those listed gives their ranks
    distance = scorer.distance(np.full(len(columns), at), scores[columns])
    return pd.DataFrame(
        {
            "position": np.arange(1, len(columns) + 1),
            "gallery": problem.gallery_rows[columns],
            "flag": np.array(FLAGS)[flags],
            "rank": np.where(valid, np.cumsum(valid), 0),
            "similarity": 1 - distance,
            "distance": distance,
        }
    )
