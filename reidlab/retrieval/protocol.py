"""Score the same features under the protocols that published code really uses, and pool multi-query features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float, Int

from reidlab.errors import UserError
from reidlab.ids import as_ids, codes
from reidlab.retrieval.inputs import Problem, as_vectors, problem_of
from reidlab.retrieval.matching import Matches
from reidlab.retrieval.metrics import per_query_frame
from reidlab.retrieval.ranking import rank_matches
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["PROTOCOLS", "pool_multi_query", "protocol_audit"]

_CUSTOM_CNN = "theannsijaz/Person-Re-ID--Using-Custom-CNN"
_VERI = "TendaiShoko/reID_project"
_DENSENET = "sftwre/Human-ReID"

# what each rule is, and which published system is scored by it
PROTOCOLS = {
    "official": (
        "junk out, same identity and camera ignored, AP over the whole gallery",
        "torchreid, fast-reid, TransReID and most others",
    ),
    "no camera rule": ("images of the query's own camera count: near-duplicates of the query are found first", _VERI),
    "whole camera dropped": (
        "every gallery image of the query's camera left out, wrong ones too",
        f"{_CUSTOM_CNN}, with the next two",
    ),
    "junk kept": ("images labelled junk (pid -1) count as wrong", f"{_CUSTOM_CNN}, with its neighbours"),
    "AP over the first 10": (
        "misses beyond rank 10 cost nothing; divided by the matches found, not by all",
        f"{_CUSTOM_CNN}, with the last two",
    ),
    "camera dropped, junk kept, AP over 10": ("the last three together", f"{_CUSTOM_CNN}: R1 26.25, AP 32.6"),
    "query in its own gallery": (
        "the query finds itself at rank 1; no camera rule",
        f"{_VERI}: R1 93.33 beside mAP 38.31 on VeRi",
    ),
    "precision printed as rank-k": (
        "share of right images at position k, which can fall with k; not CMC",
        f"{_DENSENET}: rank-5 66.89 below rank-1 84.68",
    ),
    "closed set": (
        "each query goes to the nearest mean of a known identity, any camera: classification, not retrieval",
        f"{_DENSENET}'s validation: AP 98.3 where its retrieval mAP is 65.3",
    ),
}


def protocol_audit(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    query_pids: npt.ArrayLike | None = None,
    query_camids: npt.ArrayLike | None = None,
    gallery_pids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    metric: str = "cosine",
    query_images: npt.ArrayLike | None = None,
    gallery_images: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Score one set of features under each of `PROTOCOLS`; the first row is the one to report.

    Query and gallery are two `Embeddings`, or vectors with their labels, as in `evaluate`. Images that are the query
    itself are ignored in all rows.

    Returns:
        A frame with a row a protocol: protocol, rank1, rank5, rank10, mAP, mINP, n_valid, mAP_excess (over the
        official row), what (in words), used_by (a published system that is scored so). AP is the plain form; mINP is
        NaN where the list is cut at 10.

    Raises:
        UserError: cameras are missing, no query has a valid match, or as `evaluate`.
    """
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    with_junk = problem_of(query, gallery, *labels, metric=metric, keep_junk=True)
    if with_junk.query_cams is None:
        raise UserError("The audit compares camera rules: query_camids and gallery_camids are both needed.")
    clean = with_junk.without_junk()
    official, free = rank_matches(clean), rank_matches(clean, rule="no_camera")
    dropped = rank_matches(clean, rule="drop_same_camera")
    rows = {
        "official": _scores(official),
        "no camera rule": _scores(free),
        "whole camera dropped": _scores(dropped),
        "junk kept": _scores(_rank(with_junk, "official", official, clean)),
        "AP over the first 10": _first_ten(official),
        "camera dropped, junk kept, AP over 10": _first_ten(_rank(with_junk, "drop_same_camera", dropped, clean)),
        "query in its own gallery": _scores(_with_itself(free)),
        "precision printed as rank-k": _scores(official) | _at_position(official),
        "closed set": _closed_set(clean),
    }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("protocol").reset_index()
    frame["mAP_excess"] = frame["mAP"] - frame["mAP"].iloc[0]
    frame["what"], frame["used_by"] = zip(*(PROTOCOLS[name] for name in frame["protocol"]))
    return frame


def _rank(problem: Problem, rule: str, already: Matches, clean: Problem) -> Matches:
    """Rank with the junk unless there is none."""
    return already if problem is clean else rank_matches(problem, rule=rule)


def _scores(matches: Matches) -> dict[str, float]:
    frame = per_query_frame(matches, ap="plain", pids=np.zeros(len(matches.n_ignored), np.int64))
    good = frame[frame["valid"]]
    if good.empty:
        raise UserError("No query has a valid match under one of the protocols: each identity is seen by one camera.")
    ranks = {f"rank{k}": float((good["first_rank"] <= k).mean()) for k in (1, 5, 10)}
    return ranks | {"mAP": good["ap"].mean(), "mINP": good["inp"].mean(), "n_valid": len(good)}


def _first_ten(matches: Matches) -> dict[str, float]:
    """Take AP over a list of ten: the mean precision at the hits in it, 0 without a hit."""
    scores = _scores(matches)
    near = matches.rank <= 10
    n_query = len(matches.n_ignored)
    hits = np.bincount(matches.query[near], minlength=n_query)
    position = np.arange(near.sum()) - (np.cumsum(hits) - hits)[matches.query[near]] + 1
    total = np.bincount(matches.query[near], position / matches.rank[near], minlength=n_query)
    return scores | {"mAP": float((total / np.maximum(hits, 1)).sum() / scores["n_valid"]), "mINP": float("nan")}


def _at_position(matches: Matches) -> dict[str, float]:
    n_valid = len(np.unique(matches.query))
    return {f"rank{k}": float((matches.rank == k).sum() / n_valid) for k in (1, 5, 10)}


def _closed_set(problem: Problem) -> dict[str, float]:
    """Rank identities instead of images: by the cosine of a query with the mean of each one's gallery images."""
    people, code = np.unique(problem.gallery_codes, return_inverse=True)
    sums = np.zeros((len(people), problem.gallery.shape[1]), np.float64)
    np.add.at(sums, code, _directions(problem.gallery))
    means = _directions(sums)
    rank = []
    for begin in range(0, len(problem.query), 1024):
        rows = slice(begin, begin + 1024)
        own = np.searchsorted(people, problem.query_codes[rows]).clip(max=len(people) - 1)
        known = people[own] == problem.query_codes[rows]
        scores = _directions(problem.query[rows]) @ means.T
        right = scores[np.arange(len(own)), own]
        rank.append((1 + (scores > right[:, None]).sum(axis=1))[known])
    ranks = np.concatenate(rank)
    found = {f"rank{k}": float((ranks <= k).mean()) for k in (1, 5, 10)}
    return found | {"mAP": float((1 / ranks).mean()), "mINP": float((1 / ranks).mean()), "n_valid": len(ranks)}


def _directions(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return rows of unit length; rows of zeros stay."""
    wide = vectors.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _with_itself(matches: Matches) -> Matches:
    """Put every query at rank 1 of its own ranking."""
    queries = np.arange(len(matches.n_ignored))
    query = np.concatenate([queries, matches.query])
    rank = np.concatenate([np.ones(len(queries), np.int64), matches.rank + 1])
    order = np.lexsort((rank, query))
    column = np.concatenate([np.full(len(queries), -1), matches.column])[order]
    distance = np.concatenate([np.zeros(len(queries)), matches.distance])[order]
    return Matches(query[order], column, rank[order], distance, matches.n_ignored, matches.wrong_distance)


def pool_multi_query(
    vectors: npt.ArrayLike,
    pids: npt.ArrayLike,
    camids: npt.ArrayLike,
    *,
    query: npt.ArrayLike,
    query_pids: npt.ArrayLike,
    query_camids: npt.ArrayLike,
) -> tuple[Float[np.ndarray, "query dim"], Int[np.ndarray, " query"]]:
    """Average the vectors of the same identity and camera as each query (Zheng et al., ICCV 2015: "multiple queries").

    Every vector is brought to unit length before, and the average after.

    Args:
        vectors: the pool [image, dim]; for Market-1501 the hand-drawn boxes.
        pids: identities of the pool.
        camids: cameras of the pool.
        query: the queries' own vectors [query, dim], used where the pool has none for a query.
        query_pids: identities of the queries.
        query_camids: cameras of the queries.

    Returns:
        The pooled vectors [query, dim] of unit length, and how many images went into each (0: the query's own).

    Raises:
        UserError: arrays that do not fit together, rows of zeros, or identities that cannot be one.
    """
    pool, own = (_unit(as_vectors(name, value, "cosine")) for name, value in (("vectors", vectors), ("query", query)))
    if pool.shape[1] != own.shape[1]:
        raise UserError(f"The pool's vectors have {pool.shape[1]} dims, the queries' {own.shape[1]}.")
    keys = []
    for name, of_query, of_pool in (("pids", query_pids, pids), ("camids", query_camids, camids)):
        queries = as_ids(f"query_{name}", of_query, len(own), "query")
        keys.append(codes(queries, as_ids(name, of_pool, len(pool), "vectors")))
    width = max(int(part.max()) for part in keys[1]) + 1
    wanted, there = (pid * width + cam for pid, cam in zip(*keys))
    groups, slot = np.unique(wanted, return_inverse=True)
    place = np.minimum(np.searchsorted(groups, there), len(groups) - 1)
    used = groups[place] == there
    sums = np.zeros((len(groups), own.shape[1]), own.dtype)
    np.add.at(sums, place[used], pool[used])
    counts = np.bincount(place[used], minlength=len(groups))[slot]
    pooled = np.where(counts[:, None] > 0, sums[slot], own)
    nothing = ~pooled.any(axis=1)  # vectors that cancel each other out
    pooled[nothing] = own[nothing]
    return _unit(pooled), counts


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
