"""Draw a sample of query-gallery pairs under the protocol, to look at the two distributions of distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_seed, check_whole
from reidlab.retrieval.inputs import Problem, problem_of
from reidlab.retrieval.scoring import Scorer
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["sample_pairs", "valid_matches"]

MOST = 10_000_000  # pairs
BLOCK = 8192  # pairs whose vectors are held at a time

Ints = npt.NDArray[np.int64]


def sample_pairs(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    query_pids: npt.ArrayLike | None = None,
    gallery_pids: npt.ArrayLike | None = None,
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    metric: str = "cosine",
    count: int = 20_000,
    seed: int = 0,
    query_images: npt.ArrayLike | None = None,
    gallery_images: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Return up to `count` pairs of the same identity and as many of different ones, all valid under the protocol.

    Query and gallery are two `Embeddings`, or vectors with their labels, as in `evaluate`. Pairs of the same identity
    and camera, an image with itself (`query_images`, `gallery_images`) and junk are never drawn. No pair is drawn
    twice: of either kind there may be fewer than `count`.

    Returns:
        A frame with a row a pair: query and gallery (rows), query_pid and gallery_pid, same (bool), distance (1 -
        cosine, or Euclidean) and, for the metric cosine, similarity (the cosine).

    Raises:
        UserError: no valid pair of one of the two kinds, or as `evaluate`.
    """
    count, seed = check_whole("count", count, 1, MOST), check_seed(seed)
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    problem = problem_of(query, gallery, *labels, metric=metric)
    rng = np.random.default_rng(seed)
    rows, columns = _same(problem, count, rng)
    other_rows, other_columns = _valid(problem, *_different(problem, count, rng))
    if not len(rows) or not len(other_rows):
        kind = "same identity (in another camera)" if not len(rows) else "different identities"
        raise UserError(f"There is no valid pair of {kind} among the queries and the gallery.")
    q, g = np.append(rows, other_rows), np.append(columns, other_columns)
    scorer = Scorer(problem)
    dots = np.empty(len(q), scorer.dtype)
    for begin in range(0, len(q), BLOCK):
        part = slice(begin, begin + BLOCK)
        dots[part] = np.einsum("ij,ij->i", problem.query[q[part]], problem.gallery[g[part]])
    score = dots * scorer.factor[g] if scorer.metric.scales else dots - scorer.factor[g]
    found = pd.DataFrame({"query": q, "gallery": problem.gallery_rows[g]})
    found["query_pid"], found["gallery_pid"] = problem.query_ids[q], problem.gallery_ids[g]
    found["same"], found["distance"] = np.arange(len(q)) < len(rows), scorer.distance(q, score)
    return found.assign(similarity=1 - found["distance"]) if scorer.metric.shown == "similarity" else found


def valid_matches(problem: Problem) -> tuple[Ints, Ints]:
    """Return all valid pairs of the same identity, query by query: rows of queries, columns of the gallery."""
    pairs = pd.DataFrame({"code": problem.query_codes, "query": np.arange(len(problem.query))}).merge(
        pd.DataFrame({"code": problem.gallery_codes, "column": np.arange(len(problem.gallery))}), on="code"
    )
    rows, columns = _valid(problem, pairs["query"].to_numpy(), pairs["column"].to_numpy())
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


def _same(problem: Problem, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw valid pairs of the same identity, or take all of them: rows of queries, columns of the gallery."""
    rows, columns = valid_matches(problem)
    if len(rows) > count:
        chosen = rng.choice(len(rows), count, replace=False)
        rows, columns = rows[chosen], columns[chosen]
    return rows, columns


def _valid(problem: Problem, rows: Ints, columns: Ints) -> tuple[Ints, Ints]:
    kept = ~problem.is_ignored(rows, columns)
    return rows[kept], columns[kept]


def _different(problem: Problem, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw pairs of different identities, each as likely as any other: rows of queries, columns of the gallery."""
    order = np.argsort(problem.gallery_codes, kind="stable")
    codes = problem.gallery_codes[order]
    start = np.searchsorted(codes, problem.query_codes)
    own = np.searchsorted(codes, problem.query_codes, "right") - start
    ends = np.cumsum(len(codes) - own)  # the pairs are numbered through, query by query
    picked = _distinct(int(ends[-1]), count, rng)
    rows = np.searchsorted(ends, picked, "right")
    place = picked - ends[rows] + (len(codes) - own)[rows]
    return rows, order[place + own[rows] * (place >= start[rows])]


def _distinct(total: int, count: int, rng: np.random.Generator) -> Ints:
    """Draw `count` different numbers below `total`, or all of them."""
    if total <= 2 * count:
        return rng.permutation(total)[:count]
    picked = np.unique(rng.integers(0, total, count))
    while len(picked) < count:  # draws that were there already are drawn again
        picked = np.union1d(picked, rng.integers(0, total, count - len(picked)))
    return picked
