"""Scores by the length of the list: CMC, precision and recall at k, and CMC with one gallery image per identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.retrieval.checks import check_seed, check_whole
from reidlab.retrieval.confidence import MOST_DRAWS, share_intervals
from reidlab.retrieval.inputs import Problem, problem_of
from reidlab.retrieval.pairs import valid_matches
from reidlab.retrieval.ranking import rank_matches
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["single_shot_cmc", "top_k_table"]

MOST_SHOTS = 10_000
NO_MATCH = "No query has a valid match: its identity is not in the gallery, or seen by one camera only."

Ints = npt.NDArray[np.int64]


def top_k_table(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    query_pids: npt.ArrayLike | None = None,
    gallery_pids: npt.ArrayLike | None = None,
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    ks: Sequence[int] = (1, 3, 5, 10),
    metric: str = "cosine",
    bootstrap: int = 0,
    seed: int = 0,
    query_images: npt.ArrayLike | None = None,
    gallery_images: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Score the first k images of every list, under the protocol of `evaluate`.

    Query and gallery are two `Embeddings`, or vectors with their labels, as in `evaluate`.

    Args:
        query: what is looked for [query, dim].
        gallery: among what [gallery, dim].
        query_pids, gallery_pids, query_camids, gallery_camids, query_images, gallery_images: as in `evaluate`.
        ks: lengths of the list.
        metric: "cosine" or "euclidean".
        bootstrap: draws of query identities for 95 % intervals, 0 for none.
        seed: of the draws.

    Returns:
        A frame with a row per k: k, cmc (share of queries with a match among the first k), precision (share of these k
        images that are right; at most matches / k, so that it falls with k), recall (share of the query's matches
        that are among them), and low and high of each where there are draws.

    Raises:
        UserError: a k below 1, no query with a valid match, or as `evaluate`.
    """
    bootstrap, seed = check_whole("bootstrap", bootstrap, 0, MOST_DRAWS), check_seed(seed)
    if isinstance(ks, str) or not isinstance(ks, Sequence) or not ks:
        raise UserError(f"ks={shown(ks)} must be a list of whole numbers from 1.")
    ks = [check_whole("k", k, 1, 2**31) for k in ks]
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    problem = problem_of(query, gallery, *labels, metric=metric)
    matches = rank_matches(problem)
    total = np.bincount(matches.query, minlength=len(problem.query))
    valid = total > 0
    if not valid.any():
        raise UserError(NO_MATCH)
    rows = []
    for k in ks:
        hits = np.bincount(matches.query[matches.rank <= k], minlength=len(total))[valid]
        values = {"cmc": (hits > 0).astype(float), "precision": hits / k, "recall": hits / total[valid]}
        row: dict[str, Any] = {"k": k, **{name: value.mean() for name, value in values.items()}}
        if bootstrap:
            spans = share_intervals(values, problem.query_codes[valid], count=bootstrap, seed=seed)
            row |= {f"{name}_{end}": span[at] for name, span in spans.items() for at, end in enumerate(("low", "high"))}
        rows.append(row)
    return pd.DataFrame(rows)


def single_shot_cmc(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    query_pids: npt.ArrayLike | None = None,
    gallery_pids: npt.ArrayLike | None = None,
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    draws: int = 10,
    seed: int = 0,
    max_rank: int = 50,
    metric: str = "cosine",
    query_images: npt.ArrayLike | None = None,
    gallery_images: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Return the CMC curve of galleries with one image per identity, the mean of some draws (CUHK03's first protocol).

    The image of the query's own identity is drawn among those valid for the query. Such a curve lies above that of the
    whole gallery (Li et al., CVPR 2014) and cannot be compared with it. Distractors of one pid are one identity.

    Args:
        query: what is looked for, as in `evaluate`.
        gallery: where an image of each identity is drawn from.
        query_pids, gallery_pids, query_camids, gallery_camids, query_images, gallery_images: as in `evaluate`.
        draws: number of galleries.
        seed: of the draws.
        max_rank: length of the curve.
        metric: "cosine" or "euclidean".

    Returns:
        A frame with a row per rank: rank, cmc (mean of the draws), std (of the draws; 0 for a single one).

    Raises:
        UserError: no query with a valid match, an argument out of range, or as `evaluate`.
    """
    draws, seed = check_whole("draws", draws, 1, MOST_SHOTS), check_seed(seed)
    max_rank = check_whole("max_rank", max_rank, 1, 1_000_000)
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    problem = problem_of(query, gallery, *labels, metric=metric)
    rows, columns = valid_matches(problem)
    if not len(rows):
        raise UserError(NO_MATCH)
    rng, curves = np.random.default_rng(seed), []
    for _ in range(draws):
        order = rng.permutation(len(problem.gallery))
        ranks = _ranks(problem, order, rows, columns)
        counts = np.bincount(np.minimum(ranks, max_rank + 1), minlength=max_rank + 2)
        curves.append(np.cumsum(counts)[1:-1] / len(ranks))
    return pd.DataFrame(
        {"rank": np.arange(1, max_rank + 1), "cmc": np.mean(curves, axis=0), "std": np.std(curves, axis=0)}
    )


def _ranks(problem: Problem, order: Ints, rows: Ints, columns: Ints) -> Ints:
    """Return the rank of each query's own image in a gallery of the first image of each identity in `order`."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first = pd.Series(problem.gallery_codes[order]).drop_duplicates().index.to_numpy()
    drawn = np.sort(order[first])
    by_draw = np.lexsort((place[columns], rows))
    starts = np.flatnonzero(np.diff(rows[by_draw], prepend=-1))
    asked, own = rows[by_draw][starts], columns[by_draw][starts]
    used = np.unique(np.append(drawn, own))
    small = problem.for_gallery(used).for_queries(asked)
    scorer = Scorer(small)
    dots = scorer.multiply(np.arange(len(asked)))
    scores = scorer.finish(dots, dots)
    mine = np.searchsorted(used, own)
    score = scores[np.arange(len(asked)), mine]
    rivals = np.isin(used, drawn) & (small.query_codes[:, None] != small.gallery_codes)
    rivals &= ~small.ignored_block(np.arange(len(asked)))
    earlier = np.arange(len(used)) < mine[:, None]
    nearer = (scores > score[:, None]) | ((scores == score[:, None]) & earlier)
    return np.asarray((nearer & rivals).sum(axis=1) + 1)
