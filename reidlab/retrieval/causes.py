"""Why a query failed, as far as facts that can be measured say: blurred, dark, occluded, a look-alike, hard cameras."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.data.audit.gather import gather
from reidlab.data.images import decode, decode_mask
from reidlab.data.scales import ranges_of
from reidlab.errors import UserError
from reidlab.ids import as_ids
from reidlab.pedestrians.baseline import hsv_histogram
from reidlab.retrieval.breakdown import camera_matrix, check_queries, problem_of_tables
from reidlab.retrieval.checks import check_real, check_whole
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.nearest import nearest_valid
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.pairs import valid_matches
from reidlab.retrieval.ranking import rank_matches
from reidlab.retrieval.vectors import Embeddings

__all__ = ["CAUSES", "UNEXPLAINED", "FailureCauses", "failure_causes"]

CAUSES = ("occluded", "dark", "blurred", "look_alike", "hard_cameras", "few_matches")  # the first that holds is named
UNEXPLAINED = "none of these"
OCCLUDER = 2  # value of a mask; 1 is the person

Floats = npt.NDArray[np.float64]


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
    facts = _facts(query, gallery, problem, valid, progress)
    pairs = facts.attrs["pairs"]
    limits = {
        "blurred": float(facts["sharpness"].quantile(tail)),
        "dark": float(facts["brightness"].quantile(tail)),
        "hard_cameras": float(np.quantile(pairs, hard)) if len(pairs) else float("nan"),
    }
    facts["occluded"] = facts["covered"] > covered
    facts["blurred"] = facts["sharpness"] < limits["blurred"]
    facts["dark"] = facts["brightness"] < limits["dark"]
    facts["hard_cameras"] = facts["cameras_rank1"] < limits["hard_cameras"]
    facts["few_matches"] = facts["n_matches"] <= few
    frame = _failed(query, gallery, problem, scores, facts)
    nearer = frame["margin"] > margin
    frame["look_alike"] = nearer & (frame["colour_wrong"] > frame["colour_right"])
    flags = frame[list(CAUSES)].to_numpy(bool)
    names = np.array([*CAUSES, UNEXPLAINED], dtype=object)
    frame["cause"] = names[np.where(flags.any(axis=1), flags.argmax(axis=1), len(CAUSES))]
    told = {
        "occluded": f"more than {covered:.0%} of the person is covered"
        + ("" if facts["covered"].notna().any() else " (not known here: no masks)"),
        "dark": f"brightness below {limits['dark']:.1f} of 255, the lowest {tail:.0%} of queries",
        "blurred": f"sharpness below {limits['blurred']:.1f}, the lowest {tail:.0%} of queries",
        "look_alike": f"wrong image nearer by more than {margin:.0%}, and nearer by colour too",
        "hard_cameras": "rank-1 of the best pair of cameras "
        + ("(not known here: no cameras)" if not len(pairs) else f"below {limits['hard_cameras']:.0%}"),
        "few_matches": f"at most {few} right image{'' if few == 1 else 's'} in the gallery",
        UNEXPLAINED: "",
    }
    return FailureCauses(frame, _summary(frame, facts, told), len(valid))


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


def _facts(
    query: Embeddings, gallery: Embeddings, problem: Problem, valid: npt.NDArray[np.int64], progress: bool
) -> pd.DataFrame:
    """Return what is measured of the valid queries, indexed by their rows; `attrs["pairs"]` are scores of cameras."""
    if "path" not in query.table or "path" not in gallery.table:
        raise UserError("The causes are measured on pictures: query and gallery need the column path in their tables.")
    table = query.table.iloc[valid].reset_index(drop=True)
    images = gather(table, 0, progress)[0]
    broken = images[~images["decodes"]]
    if len(broken):
        raise UserError(f"{broken['path'].iloc[0]}: {broken['error'].iloc[0]} ({len(broken)} such queries).")
    facts = images[["sharpness", "brightness"]].set_index(valid)
    facts["covered"] = _covered(table)
    rows, columns = valid_matches(problem)
    facts["n_matches"] = np.bincount(rows, minlength=len(problem.query))[valid]
    best, pairs = np.full(len(problem.query), np.nan), np.zeros(0)
    if problem.query_cam_ids is not None and gallery.camids is not None:
        matrix = camera_matrix(query, gallery, metric=problem.metric)
        known = dict(zip(zip(matrix["query_camid"], matrix["gallery_camid"]), matrix["rank1"]))
        names = as_ids("camid", gallery.camids)[problem.gallery_rows]
        scores = [known[pair] for pair in zip(problem.query_cam_ids[rows], names[columns])]
        best[rows] = -1.0
        np.fmax.at(best, rows, scores)
        pairs = matrix["rank1"].dropna().to_numpy()
    facts["cameras_rank1"] = best[valid]
    facts.attrs["pairs"] = pairs
    return facts


def _covered(table: pd.DataFrame) -> Floats:
    """Return the share of each person that is covered; NaN where nobody knows, 1 where an occluder is only named."""
    found = np.full(len(table), np.nan)
    if "mask" in table:
        for row, path in enumerate(table["mask"].fillna("").astype(str)):
            if path:
                mask = decode_mask(path, (128, 64))
                person, before = int((mask == 1).sum()), int((mask == OCCLUDER).sum())
                found[row] = before / max(person + before, 1)
    elif "occluder" in table:
        found = (~table["occluder"].fillna("").astype(str).isin(["", "none"])).to_numpy(np.float64)
    return found


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
    mine, others = _colours(query.table, rows), [_colours(gallery.table, frame[name]) for name in ("wrong", "right")]
    frame["colour_wrong"], frame["colour_right"] = (np.minimum(mine, other).sum(axis=1) for other in others)
    return frame.join(facts, on="query")


def _colours(table: pd.DataFrame, rows: Any) -> npt.NDArray[np.float32]:
    """Return the colour histograms [row, cell] of the images in these rows."""
    ranges, paths = ranges_of(table), table["path"].to_numpy()
    found = [
        hsv_histogram(decode(paths[row], (128, 64), None if ranges is None else float(ranges[row]))[None])
        for row in np.asarray(rows).tolist()
    ]
    return np.concatenate([np.zeros((0, 512), np.float32), *found])


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
