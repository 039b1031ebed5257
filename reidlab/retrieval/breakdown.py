"""Scores taken apart: by identity, camera or recording, by pair of cameras; who is taken for whom; ID²."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, nearest
from reidlab.ids import as_ids, codes
from reidlab.retrieval.checks import check_choice, check_whole
from reidlab.retrieval.inputs import Problem, as_vectors, is_junk_id, problem_of
from reidlab.retrieval.metrics import per_query_frame
from reidlab.retrieval.nearest import nearest_valid
from reidlab.retrieval.outcome import AP_FORMS, RetrievalResult
from reidlab.retrieval.ranking import rank_matches
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["camera_matrix", "check_queries", "confused_identities", "identity_spread", "problem_of_tables", "scores_by"]

COUNTED = ("sequence", "frame")  # columns where -1 stands for unknown


def scores_by(result: RetrievalResult, query: Embeddings, *columns: str) -> pd.DataFrame:
    """Return the scores of groups of queries, the worst first: by "pid", by "camid", by "camid" and "sequence", ...

    Args:
        result: of these queries.
        query: the embeddings that were looked for; only their table is read.
        columns: of that table; queries that are alike in all of them are a group.

    Returns:
        A frame with a row per group: the columns, queries, valid (those with a match), rank1, mAP and mINP (NaN
        without one).

    Raises:
        UserError: a column that is not there or says nothing, or queries that are not those of the result.
    """
    frame = check_queries(result, query)
    if not columns:
        raise UserError("Name at least one column of the query table, such as 'pid'.")
    for column in columns:
        if column not in query.table:
            raise UserError(
                f"The query table has no column {column!r}.{nearest(str(column), map(str, query.table.columns))}"
            )
        if column in COUNTED and (query.table[column] == -1).all():
            raise UserError(f"The {column} of no query is known: this data set's file names do not say it.")
    keys = {column: query.table[column].to_numpy() for column in columns}
    known = np.ones(len(frame), bool)
    for column in set(columns) & set(COUNTED):
        known &= keys[column] != -1
    table = pd.DataFrame({**keys, "first": frame["first_rank"] == 1, "valid": frame["valid"]})
    table["first"] = table["first"].astype(float).where(table["valid"])
    table["mAP"], table["mINP"] = frame["ap"], frame["inp"]
    found = table[known].groupby(list(columns), as_index=False).agg(
        queries=("valid", "size"), valid=("valid", "sum"), rank1=("first", "mean"), mAP=("mAP", "mean"),
        mINP=("mINP", "mean"),
    )  # fmt: skip
    return found.sort_values("mAP", kind="stable", ignore_index=True)


def camera_matrix(query: Embeddings, gallery: Embeddings, *, metric: str = "cosine", ap: str = "plain") -> pd.DataFrame:
    """Score the queries of each camera in the gallery of each camera alone.

    A score depends on how many images the gallery has, so that those of two gallery cameras are not quite comparable.
    Within one camera only images of other people remain, and there is no score.

    Args:
        query: what is looked for.
        gallery: among what.
        metric: "cosine" or "euclidean".
        ap: "plain" or "trapezoid".

    Returns:
        A frame with a row per pair of cameras: query_camid, gallery_camid, queries (with a match there), gallery
        (images), rank1, mAP (NaN where there is no query).

    Raises:
        UserError: no cameras, or as `evaluate`.
    """
    check_choice("ap", ap, AP_FORMS)
    problem = problem_of_tables(query, gallery, metric)
    if problem.query_cams is None or problem.gallery_cams is None or problem.query_cam_ids is None:
        raise UserError("The tables of query and gallery both need the column camid: there are no cameras to compare.")
    assert gallery.camids is not None
    names = as_ids("camid", gallery.camids)[problem.gallery_rows]
    rows = []
    for code in _ordered(problem.query_cams, problem.query_cam_ids):
        asked = np.flatnonzero(problem.query_cams == code)
        for other in _ordered(problem.gallery_cams, names):
            there = np.flatnonzero(problem.gallery_cams == other)
            scores = _scores(problem.for_queries(asked).for_gallery(there), ap)
            rows.append((problem.query_cam_ids[asked[0]], names[there[0]], *scores))
    return pd.DataFrame(rows, columns=["query_camid", "gallery_camid", "queries", "gallery", "rank1", "mAP"])


def confused_identities(
    query: Embeddings, gallery: Embeddings, *, metric: str = "cosine", top: int = 20
) -> pd.DataFrame:
    """List who is taken for whom most often: the identity of a query, and that of its nearest valid image.

    Args:
        query: what is looked for.
        gallery: among what.
        metric: "cosine" or "euclidean".
        top: pairs at most.

    Returns:
        A frame with a row per pair of identities, the most frequent first: pid, taken_for, times, queries (that the
        identity has, with a match), share (of these), and query and gallery, rows of the nearest such pair of images.

    Raises:
        UserError: top below 1, or as `evaluate`.
    """
    top = check_whole("top", top, 1, 2**31)
    problem = problem_of_tables(query, gallery, metric)
    found = nearest_valid(problem)
    asked = np.flatnonzero(_has_match(problem) & (found.column[:, 0] >= 0))
    column, distance = found.column[asked, 0], found.distance[asked, 0]
    wrong = problem.gallery_codes[column] != problem.query_codes[asked]
    frame = pd.DataFrame({"code": problem.query_codes[asked], "other": problem.gallery_codes[column]})
    frame["query"], frame["gallery"], frame["distance"] = asked, problem.gallery_rows[column], distance
    frame["pid"], frame["taken_for"] = problem.query_ids[asked], problem.gallery_ids[column]
    frame["queries"] = frame.groupby("code")["code"].transform("size")
    frame = frame[wrong].sort_values("distance", kind="stable")
    frame["times"] = frame.groupby(["code", "other"])["code"].transform("size")
    pairs = frame.drop_duplicates(["code", "other"])
    pairs = pairs.assign(share=pairs["times"] / pairs["queries"])
    pairs = pairs.sort_values(["times", "share", "distance"], ascending=[False, False, True], kind="stable")
    columns = ["pid", "taken_for", "times", "queries", "share", "query", "gallery"]
    return pairs[columns].head(top).reset_index(drop=True)


def identity_spread(embeddings: Embeddings) -> pd.DataFrame:
    """Return how far the images of each identity lie apart, the widest first; ID² is the mean of the last column.

    ID² is the mean squared distance of embeddings of unit length to the mean of their identity (Yuan et al., CVPR 2025,
    "Pose2ID"): 0 where all images of a person are alike. Here every identity counts the same. It says nothing of how
    far identities are from each other.

    Args:
        embeddings: of any images; junk is left out.

    Returns:
        A frame with a row per identity: pid, images, spread (0 to 1).

    Raises:
        UserError: vectors that have no direction, or nothing but junk.
    """
    pids = as_ids("pid", embeddings.pids)
    kept = np.flatnonzero(~is_junk_id(pids))
    if not len(kept):
        raise UserError(f"All {len(pids)} images are junk (pid -1): no identity is left.")
    vectors = as_vectors("embeddings", embeddings.vectors[kept], "cosine").astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    code = codes(pids[kept])[0]
    images = np.bincount(code)
    means = np.zeros((len(images), vectors.shape[1]))
    np.add.at(means, code, vectors)
    spread = 1 - ((means / images[:, None]) ** 2).sum(axis=1)  # of unit vectors: 1 less the squared length of the mean
    names = pids[kept][pd.Series(code).drop_duplicates().index]
    found = pd.DataFrame({"pid": names, "images": images, "spread": np.maximum(spread, 0)})
    return found.sort_values("spread", ascending=False, kind="stable", ignore_index=True)


def problem_of_tables(query: Embeddings, gallery: Embeddings, metric: str) -> Problem:
    """Return the problem of two `Embeddings`.

    Raises:
        UserError: they are something else, or as `evaluate`.
    """
    if not isinstance(query, Embeddings) or not isinstance(gallery, Embeddings):
        raise UserError("query and gallery must be Embeddings here: Embeddings(vectors, table).")
    return problem_of(query, gallery, Labels(None), Labels(None), metric=metric)


def check_queries(result: RetrievalResult, query: Embeddings) -> pd.DataFrame:
    """Return the rows of a result by query.

    Raises:
        UserError: the queries are not those of the result.
    """
    frame, pids = result.per_query, as_ids("pid", query.pids)
    if len(frame) != len(query) or not (frame["pid"].to_numpy().astype(str) == pids.astype(str)).all():
        raise UserError(
            f"The result is of {len(frame):,} queries and these are {len(query):,}, or other people: give the "
            "embeddings that were evaluated."
        )
    return frame.reset_index(drop=True)


def _has_match(problem: Problem) -> npt.NDArray[np.bool_]:
    return np.bincount(rank_matches(problem).query, minlength=len(problem.query)) > 0


def _ordered(code: npt.NDArray[np.int64], names: npt.NDArray[Any]) -> list[int]:
    """Return the codes in the order of their names."""
    first = pd.Series(names).groupby(code).first()
    return [int(each) for each in first.sort_values(kind="stable").index]


def _scores(problem: Problem, ap: str) -> tuple[int, int, float, float]:
    frame = per_query_frame(rank_matches(problem), ap=ap, pids=problem.query_ids)
    good = frame[frame["valid"]]
    first = float((good["first_rank"] == 1).mean()) if len(good) else float("nan")
    return len(good), len(problem.gallery), first, float(good["ap"].mean())
