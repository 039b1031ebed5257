"""Find identity labels that the embeddings contradict: single wrong labels, people split in two, people run together.

What is found is a suspicion to look at, not an error: an embedding that is weak, or that was trained on these very
labels, contradicts right ones and agrees with wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError, shown
from reidlab.ids import as_ids
from reidlab.retrieval.checks import check_choice, check_whole
from reidlab.retrieval.inputs import Problem, problem_of
from reidlab.retrieval.likeness import Scale, people_of, scale_of, similarity_elsewhere, two_groups
from reidlab.retrieval.nearest import Nearest, nearest_valid
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["KINDS", "suspicious_labels"]

KINDS = ("label", "split", "merged")
COLUMNS = ["kind", "score", "pid", "other_pid", "row", "other_row", "reason"]
LEAST = {"label": 0.5, "split": 0.5, "merged": 0.75}  # scores below are not listed

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def suspicious_labels(
    embeddings: Embeddings, *, k: int = 10, metric: str = "cosine", kinds: Sequence[str] = KINDS, top: int = 200
) -> pd.DataFrame:
    """List the most suspicious identity labels by what stands nearest in other cameras, the worst first.

    Near images of the same camera say little (the same background, the same frame), so that other cameras alone are
    asked; without cameras, all other images. Junk and distractors are left out.

    - label: an image that is more like another identity, one of those among its `k` nearest images, than like its own.
      Score: how much more similar it is to all images of the other than to all of its own, in other cameras, as a share
      of the gap in similarity between pairs of one person and pairs of different people.
    - split: two identities that look like one person: as many of the nearest images of either are of the other as of
      itself. Score: the lower of both shares, 1 where they are equal.
    - merged: one identity whose images form two groups that differ like two people, each in two cameras at least.
      Score: the gap in similarity within and between the groups, as a share of the same gap between people.

    Give embeddings of a network that was not trained on these labels: one that was has learnt them by heart.

    Args:
        embeddings: of all images whose labels are in question.
        k: nearest images that are asked.
        metric: "cosine" or "euclidean", for the nearest images; similarities are cosines.
        kinds: what to look for.
        top: rows at most, of each kind.

    Returns:
        A frame with a row per suspicion: kind, score (about 1 where it is clear; those of different kinds are not
        comparable), pid, other_pid (what it looks like; of merged the same), row and other_row (of the table: an image,
        and the nearest one of the other identity or group), reason (in words). `attrs["counts"]` says how many
        suspicions of each kind there are.

    Raises:
        UserError: another kind, fewer than two identities, or as `evaluate`.
    """
    k, top = check_whole("k", k, 1, 1000), check_whole("top", top, 1, 2**31)
    if isinstance(kinds, str) or not isinstance(kinds, Sequence) or not kinds:
        raise UserError(f"kinds={shown(kinds)} must be a list of {', '.join(KINDS)}.")
    kinds = [check_choice("kinds", kind, KINDS) for kind in kinds]
    rows, problem = _known(embeddings, metric)
    nearest = nearest_valid(problem, k, other_cameras=True)
    votes = _votes(problem, nearest)
    found = []
    vectors = problem.query / np.linalg.norm(problem.query, axis=1, keepdims=True).clip(np.finfo(np.float32).tiny)
    people = people_of(problem)
    scale = scale_of(problem, vectors, people)
    if "label" in kinds:
        found.append(_labels(problem, nearest, votes, vectors, scale))
    if "split" in kinds:
        found.append(_split(problem, nearest, votes))
    if "merged" in kinds:
        found.append(_merged(problem, vectors, people, scale))
    parts = [part[part["score"] >= LEAST[part.attrs["kind"]]].assign(kind=part.attrs["kind"]) for part in found]
    counts = {part.attrs["kind"]: len(kept) for part, kept in zip(found, parts)}
    parts = [
        part.sort_values(["score", "distance"], ascending=[False, True], kind="stable").head(top) for part in parts
    ]
    frame = pd.concat(parts, ignore_index=True)
    for column in ("row", "other_row"):
        frame[column] = rows[frame[column].to_numpy(np.int64)]
    frame = frame[COLUMNS]
    frame.attrs = {"counts": counts}
    return frame


def _known(embeddings: Embeddings, metric: str) -> tuple[Ints, Problem]:
    """Return the rows of images of known people, and the problem of looking for each among all of them."""
    if not isinstance(embeddings, Embeddings):
        raise UserError("embeddings must be Embeddings(vectors, table): the labels in question are its table's.")
    pids = as_ids("pid", embeddings.pids)
    rows = np.flatnonzero(~(is_junk(embeddings.table) | is_distractor(embeddings.table)).to_numpy())
    if len(set(pids[rows].tolist())) < 2:
        raise UserError("Labels are doubted where another identity is nearer: fewer than two identities are here.")
    camids = None if embeddings.camids is None else embeddings.camids[rows]
    labels = Labels(pids[rows], camids, np.arange(len(rows)))
    vectors = embeddings.vectors[rows]
    return rows, problem_of(vectors, vectors, labels, labels, metric=metric)


def _votes(problem: Problem, nearest: Nearest) -> pd.DataFrame:
    """Count, for each image, its nearest images by identity: image, code, own (identity), count, first (place)."""
    image, place = np.nonzero(nearest.column >= 0)
    code = problem.gallery_codes[nearest.column[image, place]]
    frame = pd.DataFrame({"image": image, "code": code, "place": place})
    votes = frame.groupby(["image", "code"], as_index=False).agg(count=("place", "size"), first=("place", "min"))
    votes["own"] = problem.query_codes[votes["image"]]
    return votes


def _labels(problem: Problem, nearest: Nearest, votes: pd.DataFrame, vectors: Any, scale: Scale) -> pd.DataFrame:
    """Score each image by how much more it is like another identity, among its nearest images, than like its own."""
    others = votes[votes["code"] != votes["own"]]
    image = others["image"].to_numpy(np.int64)
    like = similarity_elsewhere(problem, vectors, image, others["code"].to_numpy(np.int64))
    mine = similarity_elsewhere(problem, vectors, image, others["own"].to_numpy(np.int64))
    # an image whose identity no other camera sees has to be as near to the other as people are to themselves
    mine = np.where(np.isnan(mine), scale.same, mine)
    others = others.assign(score=(like - mine) / scale.gap if scale.gap > 0 else 0.0)
    best = others.sort_values(["score", "first"], ascending=[False, True], kind="stable").drop_duplicates("image")
    hits = votes[votes["code"] == votes["own"]].set_index("image")["count"]
    images, first = best["image"].to_numpy(np.int64), best["first"].to_numpy(np.int64)
    column = nearest.column[images, first]
    where = "in other cameras" if problem.query_cams is not None else "elsewhere"
    reasons = [
        f"more like {name} than {own} by {score:.0%} of the gap between people; of its {asked} nearest images {where} "
        f"{count} are of {name}, {right} of {own}"
        for score, own, name, asked, count, right in zip(
            best["score"], problem.query_ids[images], problem.gallery_ids[column],
            (nearest.column[images] >= 0).sum(axis=1), best["count"], hits.reindex(images).fillna(0).astype(np.int64),
        )
    ]  # fmt: skip
    return _frame("label", problem, best["score"], images, column, reasons, nearest.distance[images, first])


def _split(problem: Problem, nearest: Nearest, votes: pd.DataFrame) -> pd.DataFrame:
    """Score pairs of identities by how many of the nearest images of either are of the other."""
    between = votes.groupby(["own", "code"], as_index=False)["count"].sum()
    own = between[between["own"] == between["code"]].set_index("own")["count"]
    pairs = between[between["own"] != between["code"]]
    pairs = pairs.assign(share=pairs["count"] / np.maximum(pairs["own"].map(own).fillna(0), pairs["count"]))
    back = pairs.rename(columns={"own": "code", "code": "own", "share": "back"})[["own", "code", "back"]]
    pairs = pairs.merge(back, on=["own", "code"])
    pairs = pairs[pairs["own"] < pairs["code"]]
    closest = votes.sort_values("first", kind="stable").drop_duplicates(["own", "code"])
    pairs = pairs.merge(closest[["own", "code", "image", "first"]], on=["own", "code"])
    images, first = pairs["image"].to_numpy(), pairs["first"].to_numpy()
    column = nearest.column[images, first]
    score = np.minimum(pairs["share"], pairs["back"])
    reasons = [
        f"among the nearest images of {one} those of {other} are {share:.0%} as many as its own; "
        f"the other way round {back:.0%}"
        for one, other, share, back in zip(
            problem.query_ids[images], problem.gallery_ids[column], pairs["share"], pairs["back"]
        )
    ]
    return _frame("split", problem, score, images, column, reasons, nearest.distance[images, first])


def _merged(problem: Problem, vectors: Any, people: list[Ints], scale: Scale) -> pd.DataFrame:
    """Score identities by how far two groups of their images lie apart, on the scale of people."""
    found: list[tuple[float, int, int, str, float]] = []
    for rows in people:
        groups = two_groups(problem, vectors, rows) if len(rows) >= 4 and scale.gap > 0 else None
        if groups is not None:
            one, two, gap = groups
            cosine = vectors[one] @ vectors[two].T
            at = np.unravel_index(int(cosine.argmax()), cosine.shape)
            share = gap / scale.gap
            reason = f"its images form groups of {len(one)} and {len(two)}, {share:.0%} as far apart as two people"
            found.append((share, int(one[at[0]]), int(two[at[1]]), reason, 1 - gap))
    score, image, column, reasons, distance = zip(*found) if found else ((), (), (), (), ())
    rows, columns = np.array(image, np.int64), np.array(column, np.int64)
    return _frame("merged", problem, score, rows, columns, list(reasons), distance)


def _frame(
    kind: str, problem: Problem, score: Any, images: Ints, columns: Ints, reasons: list[str], distance: Any
) -> pd.DataFrame:
    frame = pd.DataFrame({"score": np.asarray(score, np.float64), "row": images, "other_row": columns})
    frame["pid"], frame["other_pid"] = problem.query_ids[images], problem.gallery_ids[columns]
    frame["reason"] = np.array(reasons, dtype=object)
    frame["distance"] = np.asarray(distance, np.float64)
    frame.attrs["kind"] = kind
    return frame
