"""Score a ranking: CMC, AP in both forms that are in use, INP, under the protocol of Market-1501.

Junk (pid -1) is taken out of the gallery; gallery images of the query's identity *and* camera are neither right nor
wrong; a query without any other image of its identity is counted and reported, never averaged as zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, shown
from reidlab.ids import as_ids
from reidlab.retrieval.checks import check_choice, check_real, check_seed, check_whole
from reidlab.retrieval.confidence import MOST_DRAWS, share_intervals
from reidlab.retrieval.inputs import Problem, problem_of
from reidlab.retrieval.matching import RULES, Matches
from reidlab.retrieval.outcome import AP_FORMS, RetrievalResult
from reidlab.retrieval.precision import in_precision
from reidlab.retrieval.ranking import BLOCK_MIB, rank_matches
from reidlab.retrieval.reranked import Rerank, scorer_of
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["average_precision", "evaluate", "inverse_negative_penalty", "per_query_frame", "summarize"]

LONGEST_CMC = 1_000_000
PRECISION_AT = (1, 5, 10)

Floats = npt.NDArray[np.float64]


def _precisions(ranks: npt.NDArray[Any], position: npt.NDArray[Any], ap: str) -> Floats:
    """Return what each match adds to n * AP; `position` is 1 for a query's first match, 2 for its second, ..."""
    plain = position / ranks
    if ap == "plain":
        return plain
    before = np.where(ranks > 1, (position - 1) / np.maximum(ranks - 1, 1), 1.0)
    return (plain + before) / 2


def _checked(ranks: npt.ArrayLike) -> npt.NDArray[np.int64]:
    why = f"got {shown(ranks)}"
    try:
        values = as_ids("ranks", ranks)  # whole numbers, by the same rule
    except UserError as error:
        values, why = np.zeros(0, np.int64), str(error)
    if values.dtype != np.int64 or not len(values) or (values < 1).any() or (np.diff(values) <= 0).any():
        raise UserError(f"ranks must be positions from 1, each larger than the last; {why}")
    return values


def average_precision(ranks: npt.ArrayLike, ap: str = "plain") -> float:
    """Return the AP of one query from the 1-based ranks of its true matches.

    "plain" is the mean of i / r_i (torchreid, fast-reid, BoT, AGW, TransReID); "trapezoid" is the area under the
    precision-recall curve by trapezia (Market-1501's own Matlab code, layumi). For matches at ranks 2, 3 and 5:

    >>> round(average_precision([2, 3, 5]), 6), round(average_precision([2, 3, 5], ap="trapezoid"), 6)
    (0.588889, 0.461111)

    Raises:
        UserError: ranks that are not whole numbers from 1, each larger than the last; another name of a form.
    """
    check_choice("ap", ap, AP_FORMS)
    values = _checked(ranks)
    return float(_precisions(values, np.arange(1, len(values) + 1), ap).mean())


def inverse_negative_penalty(ranks: npt.ArrayLike) -> float:
    """Return n / r_n: how few wrong images stand before the hardest match (Ye et al., AGW, TPAMI 2021).

    >>> inverse_negative_penalty([2, 3, 5])
    0.6

    Raises:
        UserError: as `average_precision`.
    """
    values = _checked(ranks)
    return len(values) / int(values[-1])


def evaluate(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    query_pids: npt.ArrayLike | None = None,
    gallery_pids: npt.ArrayLike | None = None,
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
    metric: str = "cosine",
    ap: str = "plain",
    max_rank: int = 50,
    bootstrap: int = 0,
    seed: int = 0,
    rule: str = "official",
    block_mib: float = BLOCK_MIB,
    query_images: npt.ArrayLike | None = None,
    gallery_images: npt.ArrayLike | None = None,
    rerank: Rerank = "",
    rerank_options: Mapping[str, Any] | None = None,
    precision: str = "full",
) -> RetrievalResult:
    """Rank the gallery for each query and score the ranking.

    float32 vectors are compared in float32, anything wider in float64. At most `block_mib` of scores are held, and
    float32 vectors may lie in a file (`np.memmap`): they are never copied, except that junk in the middle of a gallery
    is cut out by a copy. Equal gallery images tie, and stand in gallery order; equal queries have equal scores. That
    holds on every machine. Two different images whose scores differ in their last bits may change places on another
    one.

    Args:
        query: `Embeddings`, whose table has identities, cameras and images, or vectors [query, dim] (a NumPy array or a
            torch tensor). The six arguments of labels go with vectors alone.
        gallery: as query, [gallery, dim].
        query_pids: identities [query], integers or strings; -1 is not allowed here. Vectors need them.
        gallery_pids: identities [gallery]; -1 (or "-1") is junk and is taken out.
        query_camids: cameras [query]; without them (or those of the gallery) every gallery image is valid and the
            result's `camera_rule` is False.
        gallery_camids: cameras [gallery].
        metric: "cosine" (1 - cosine) or "euclidean".
        ap: "plain" or "trapezoid", see `average_precision`; the result names it.
        max_rank: length of the CMC curve.
        bootstrap: draws of query identities for 95 % intervals, 0 for none.
        seed: of those draws.
        rule: "official", "no_camera" or "drop_same_camera" (see `ranking.rank_matches`).
        block_mib: memory for scores, in MiB; a gallery that is too large for it is ranked in panels.
        query_images: what each query is [query]: a digest of its pixels, or its path. A gallery image that has the
            same is the query itself and is ignored, whatever its labels; the result counts such queries.
        gallery_images: the same of the gallery; with one of the two alone nothing is ignored.
        rerank: name of a re-ranking method (`reidlab rerankings`), which sees the gallery without junk; or distances
            [query, gallery] in the place of the vectors' own: what `rerank` or `fuse` returned, or numbers.
        rerank_options: of the method.
        precision: "full"; or "float32", "bfloat16" or "float16", to which vectors are rounded (into a copy) before they
            are multiplied, in float32. That is not faster here: it shows what a GPU or an index gives that works in
            this precision (`precision_effect`).

    Raises:
        UserError: the arrays do not fit together, cannot be ranked, or no query has a valid match.
    """
    max_rank, bootstrap, seed = check_options(ap, rule, max_rank, bootstrap, seed)
    block_mib = check_real("block_mib", block_mib, 0, 2**30, open_ends=True)
    labels = Labels(query_pids, query_camids, query_images), Labels(gallery_pids, gallery_camids, gallery_images)
    problem = in_precision(problem_of(query, gallery, *labels, metric=metric), precision)
    if precision != "full" and not isinstance(rerank, str):
        raise UserError(f"precision={precision!r} rounds vectors: it has no effect on distances given as rerank.")
    rule = rule if problem.query_cams is not None else "no_camera"
    n_gallery = len(problem.gallery) + problem.n_junk
    scorer, told = scorer_of(problem, rerank, rerank_options, n_gallery=n_gallery, block_mib=block_mib)
    matches = rank_matches(problem, rule=rule, block_mib=block_mib, scorer=scorer)
    frame = per_query_frame(matches, ap=ap, pids=problem.query_ids, camids=problem.query_cam_ids)
    result = summarize(frame, problem, rule=rule, ap=ap, max_rank=max_rank, bootstrap=bootstrap, seed=seed)
    return replace(result, rerank=told, precision=precision)


def check_options(ap: str, rule: str, max_rank: int, bootstrap: int, seed: int) -> tuple[int, int, int]:
    """Check these options of `evaluate`; return the last three as plain integers."""
    check_choice("ap", ap, AP_FORMS)
    check_choice("rule", rule, RULES)
    max_rank = check_whole("max_rank", max_rank, 1, LONGEST_CMC)
    return max_rank, check_whole("bootstrap", bootstrap, 0, MOST_DRAWS), check_seed(seed)


def per_query_frame(matches: Matches, *, ap: str, pids: Any, camids: Any = None) -> pd.DataFrame:
    """Return a row a query: its counts, the rank of its first match (0: none), AP, INP, precision at 1, 5 and 10.

    A precision is the share of the first k images, without junk and ignored ones, that are right. Scores are NaN where
    a query has no valid match.
    """
    n_query = len(matches.n_ignored)
    n_matches = np.bincount(matches.query, minlength=n_query)
    starts = np.cumsum(n_matches) - n_matches
    position = np.arange(len(matches.query)) - starts[matches.query] + 1
    total = np.bincount(matches.query, _precisions(matches.rank, position, ap), minlength=n_query)
    valid = n_matches > 0
    first = np.zeros(n_query, np.int64)
    value, inp, distance = np.full(n_query, np.nan), np.full(n_query, np.nan), np.full(n_query, np.nan)
    first[valid] = matches.rank[starts[valid]]
    value[valid] = total[valid] / n_matches[valid]
    inp[valid] = n_matches[valid] / matches.rank[starts[valid] + n_matches[valid] - 1]
    distance[valid] = matches.distance[starts[valid]]
    columns: dict[str, Any] = {"query": np.arange(n_query), "pid": pids}
    if camids is not None:
        columns["camid"] = camids
    columns |= {"n_matches": n_matches, "n_ignored": matches.n_ignored, "valid": valid, "first_rank": first}
    columns |= {"ap": value, "inp": inp, "match_distance": distance, "wrong_distance": matches.wrong_distance}
    for k in PRECISION_AT:
        hits = np.bincount(matches.query[matches.rank <= k], minlength=n_query)
        columns[f"precision_{k}"] = np.where(valid, hits / k, np.nan)
    return pd.DataFrame(columns)


def summarize(
    frame: pd.DataFrame, problem: Problem, *, rule: str, ap: str, max_rank: int, bootstrap: int, seed: int
) -> RetrievalResult:
    """Average the valid rows of a per-query frame into a result."""
    good = frame[frame["valid"]]
    if good.empty:
        raise UserError(_why_none(problem, rule))
    first = good["first_rank"].to_numpy()
    cmc = np.cumsum(np.bincount(np.minimum(first, max_rank + 1), minlength=max_rank + 2))[1 : max_rank + 1]
    intervals = {}
    if bootstrap:
        values: dict[str, Any] = {f"rank{k}": first <= k for k in (1, 5, 10)}
        values |= {"mAP": good["ap"], "mINP": good["inp"]}
        groups = problem.query_codes[frame["valid"].to_numpy()]
        intervals = share_intervals(values, groups, count=bootstrap, seed=seed)
    return RetrievalResult(
        mean_ap=float(good["ap"].mean()),
        mean_inp=float(good["inp"].mean()),
        cmc=cmc / len(good),
        per_query=frame,
        metric=problem.metric,
        ap=ap,
        rule=rule,
        n_gallery=len(problem.gallery),
        n_junk=problem.n_junk,
        n_same_image=problem.n_same_image,
        notes=problem.notes if rule != "no_camera" else (),
        intervals=intervals,
        bootstrap=bootstrap,
        seed=seed,
    )


def _why_none(problem: Problem, rule: str) -> str:
    """Explain why no query can be scored."""
    n_query = len(problem.query)
    if not np.isin(problem.query_codes, problem.gallery_codes).any():
        return (
            f"None of the {n_query} queries can be scored: no query identity is in the gallery. "
            "Are both pids written the same way ('0001' is not '1')?"
        )
    if rule == "no_camera":
        return f"None of the {n_query} queries can be scored: of their identities the gallery has the queries alone."
    itself = ", and the query itself, are" if problem.n_same_image else " is"
    return (
        f"None of the {n_query} queries can be scored under the rule {rule!r}: each identity is seen by one camera "
        f"only (a gallery image of the query's own camera{itself} ignored). Give no camids to count every image."
    )
