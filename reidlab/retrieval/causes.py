"""Why a query failed, as far as facts that can be measured say: blurred, dark, occluded, a look-alike, hard cameras."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from reidlab.errors import UserError
from reidlab.retrieval.breakdown import check_queries, problem_of_tables
from reidlab.retrieval.checks import check_real, check_whole
from reidlab.retrieval.facts import colours_of, facts_of
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.nearest import nearest_valid
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.ranking import rank_matches
from reidlab.retrieval.vectors import Embeddings

__all__ = ["CAUSES", "UNEXPLAINED", "FailureCauses", "failure_causes"]

CAUSES = ("occluded", "dark", "blurred", "look_alike", "hard_cameras", "few_matches")  # the first that holds is named
UNEXPLAINED = "none of these"


@dataclass(frozen=True, eq=False)
class FailureCauses:
    """What is the matter with the queries whose nearest image is wrong.

    Attributes:
        frame: a row per failed query: query, pid, camid, wrong and right (gallery rows of the nearest image and of the
            nearest right one; their identity and camera as wrong_pid, wrong_camid), the measured values (sharpness,
            brightness, covered, margin, colour_wrong, colour_right, cameras_rank1, n_matches; NaN where nobody knows),
            a truth value per cause of `CAUSES`, and cause, the first that holds.
        summary: a row per cause: cause, failed (queries that failed and have it), share_failed, share_all (share of all
            queries with a match that have it: only where far fewer of these do does it explain anything; NaN where
            only failures can have it), named (failures that it is the first cause of), what (its limit).
        n_valid: queries with a match.
    """

    frame: pd.DataFrame
    summary: pd.DataFrame
    n_valid: int

    def sentence(self) -> str:
        """Return a sentence on how many failed and how many of them are explained."""
        failed = len(self.frame)
        left = int((self.frame["cause"] == UNEXPLAINED).sum())
        return (
            f"{failed:,} of {self.n_valid:,} queries with a match have a wrong nearest image; {left:,} of them for "
            "none of the reasons measured. A cause as frequent among all queries as among failures explains nothing."
        )

    def __repr__(self) -> str:
        return f"FailureCauses({self.sentence()})"

    def _repr_html_(self) -> str:
        shown = self.summary.assign(
            share_failed=self.summary["share_failed"].map(_percent), share_all=self.summary["share_all"].map(_percent)
        )
        return f"{shown.to_html(index=False, border=0)}<p>{html.escape(self.sentence())}</p>"


def failure_causes(
    result: RetrievalResult,
    query: Embeddings,
    gallery: Embeddings,
    *,
    tail: float = 0.1,
    covered: float = 0.2,
    margin: float = 0.05,
    hard: float = 0.25,
    few: int = 1,
    progress: bool = False,
) -> FailureCauses:
    """Measure what may be the matter with each query whose nearest valid image is wrong.

    The causes are rough and none is a proof: a blurred query may have failed for another reason. That is why the
    summary says how many of all queries have the same fault.

    - occluded: of the person and what stands before it (mask values 1 and 2) the latter covers more than `covered`;
      known only where the table has a column `mask`. Without masks, a name in a column `occluder`.
    - dark: mean brightness in the lowest `tail` of the queries.
    - blurred: sharpness (variance of the Laplacian) in the lowest `tail`; a dark image has little of it, too.
    - look_alike: the wrong image is nearer than the nearest right one by more than `margin` of the latter's distance,
      and by colour (intersection of HSV histograms) too it is more like the query.
    - hard_cameras: of the cameras in which the person has a match, even the easiest has with the query's camera a
      rank-1 among the lowest `hard` of all pairs of cameras.
    - few_matches: at most `few` right images in the gallery.

    Args:
        result: of these embeddings, under the official rule, not re-ranked.
        query: what was looked for; the files of its table are read.
        gallery: among what.
        tail: share of queries that count as blurred, and as dark.
        covered: share of the person.
        margin: share of the distance of the nearest right image.
        hard: share of pairs of cameras.
        few: images.
        progress: show a bar while images are decoded.

    Raises:
        UserError: a result of other embeddings, another rule, images that cannot be read, or an argument out of range.
    """
    for name, value in (("tail", tail), ("covered", covered), ("margin", margin), ("hard", hard)):
        check_real(name, value, 0, 1)
    check_whole("few", few, 0, 2**31)
    scores, problem = check_queries(result, query), problem_of_tables(query, gallery, result.metric)
    _check_same(result, problem)
    valid = np.flatnonzero(scores["valid"])
    facts = facts_of(query, gallery, problem, valid, progress)
    limits = _Limits(tail, covered, margin, hard, few)
    told = limits.apply(facts)
    frame = _failed(query, gallery, problem, scores, facts)
    nearer = frame["margin"] > margin
    frame["look_alike"] = nearer & (frame["colour_wrong"] > frame["colour_right"])
    flags = frame[list(CAUSES)].to_numpy(bool)
    names = np.array([*CAUSES, UNEXPLAINED], dtype=object)
    frame["cause"] = names[np.where(flags.any(axis=1), flags.argmax(axis=1), len(CAUSES))]
    return FailureCauses(frame, _summary(frame, facts, told), len(valid))


class _Limits(NamedTuple):
    """From where on a measured value is a cause; see `failure_causes`."""

    tail: float
    covered: float
    margin: float
    hard: float
    few: int

    def apply(self, facts: pd.DataFrame) -> dict[str, str]:
        """Add to the facts of all queries which causes hold; return what each cause means, in words."""
        pairs, no_masks = facts.attrs["pairs"], facts["covered"].isna().all()
        blurred, dark = (float(facts[name].quantile(self.tail)) for name in ("sharpness", "brightness"))
        hard = float(np.quantile(pairs, self.hard)) if len(pairs) else float("nan")
        facts["occluded"], facts["blurred"] = facts["covered"] > self.covered, facts["sharpness"] < blurred
        facts["dark"], facts["hard_cameras"] = facts["brightness"] < dark, facts["cameras_rank1"] < hard
        facts["few_matches"] = facts["n_matches"] <= self.few
        lowest = f"the lowest {self.tail:.0%} of queries"
        return {
            "occluded": f"more than {self.covered:.0%} of the person is covered"
            + (" (not known here: no masks)" if no_masks else ""),
            "dark": f"brightness below {dark:.1f} of 255, {lowest}",
            "blurred": f"sharpness below {blurred:.1f}, {lowest}",
            "look_alike": f"wrong image nearer by more than {self.margin:.0%}, and nearer by colour too",
            "hard_cameras": "rank-1 of the best pair of cameras "
            + (f"below {hard:.0%}" if len(pairs) else "(not known here: no cameras)"),
            "few_matches": f"at most {self.few} right image{'' if self.few == 1 else 's'} in the gallery",
            UNEXPLAINED: "",
        }


def _check_same(result: RetrievalResult, problem: Problem) -> None:
    """Refuse a result that was not made of these embeddings as `evaluate` does by default."""
    rule = "official" if problem.query_cams is not None else "no_camera"
    reranked = getattr(result, "rerank", "")
    if result.rule != rule or reranked:
        how = f"is re-ranked by {reranked}" if reranked else f"was made under the rule {result.rule!r}, not {rule!r}"
        raise UserError(f"The result {how}: give that of evaluate(query, gallery) on these embeddings.")
    if result.n_gallery != len(problem.gallery):
        raise UserError(
            f"The result is of {result.n_gallery:,} gallery images and these are {len(problem.gallery):,} without "
            "junk: give the embeddings that were evaluated."
        )


def _failed(
    query: Embeddings, gallery: Embeddings, problem: Problem, scores: pd.DataFrame, facts: pd.DataFrame
) -> pd.DataFrame:
    """Return the facts of the failed queries with those of the images that they were taken for."""
    rows = np.flatnonzero(scores["valid"] & (scores["first_rank"] > 1))
    part = problem.for_queries(rows) if len(rows) else None
    wrong = nearest_valid(part) if part is not None else None
    column = wrong.column[:, 0] if wrong is not None else np.zeros(0, np.int64)
    matches = rank_matches(problem)
    right = matches.column[np.searchsorted(matches.query, rows)]
    frame = pd.DataFrame({"query": rows, "pid": problem.query_ids[rows]})
    if query.camids is not None:
        frame["camid"] = query.camids[rows]
    frame["wrong"], frame["right"] = problem.gallery_rows[column], problem.gallery_rows[right]
    frame["wrong_pid"] = problem.gallery_ids[column]
    if gallery.camids is not None:
        frame["wrong_camid"] = gallery.camids[frame["wrong"]]
    reach = scores["match_distance"].to_numpy()[rows]
    distance = wrong.distance[:, 0] if wrong is not None else np.zeros(0)
    frame["margin"] = (reach - distance) / np.maximum(reach, np.finfo(np.float32).tiny)
    mine, others = (
        colours_of(query.table, rows),
        [colours_of(gallery.table, frame[name]) for name in ("wrong", "right")],
    )
    frame["colour_wrong"], frame["colour_right"] = (np.minimum(mine, other).sum(axis=1) for other in others)
    return frame.join(facts, on="query")


def _summary(frame: pd.DataFrame, facts: pd.DataFrame, told: dict[str, str]) -> pd.DataFrame:
    rows = []
    for cause, what in told.items():
        has = frame["cause"] == UNEXPLAINED if cause == UNEXPLAINED else frame[cause]
        every = float(facts[cause].mean()) if cause in facts else float("nan")
        share = float(has.mean()) if len(frame) else float("nan")
        rows.append((cause, int(has.sum()), share, every, int((frame["cause"] == cause).sum()), what))
    return pd.DataFrame(rows, columns=["cause", "failed", "share_failed", "share_all", "named", "what"])


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0%}"
