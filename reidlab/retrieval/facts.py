"""What is measured of queries and their pictures: sharpness, brightness, what is covered, colours, hard cameras."""

from __future__ import annotations

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
from reidlab.retrieval.breakdown import camera_matrix
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.pairs import valid_matches
from reidlab.retrieval.vectors import Embeddings

__all__ = ["colours_of", "covered_shares", "facts_of"]

OCCLUDER = 2  # value of a mask; 1 is the person

Floats = npt.NDArray[np.float64]


def facts_of(
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
    facts["covered"] = covered_shares(table)
    rows, columns = valid_matches(problem)
    facts["n_matches"] = np.bincount(rows, minlength=len(problem.query))[valid]
    best, pairs = np.full(len(problem.query), np.nan), []
    if problem.query_cam_ids is not None and gallery.camids is not None:
        matrix = camera_matrix(query, gallery, metric=problem.metric)
        known = dict(zip(zip(matrix["query_camid"], matrix["gallery_camid"]), matrix["rank1"]))
        names = as_ids("camid", gallery.camids)[problem.gallery_rows]
        scores = [known[pair] for pair in zip(problem.query_cam_ids[rows], names[columns])]
        best[rows] = -1.0
        np.fmax.at(best, rows, scores)
        pairs = matrix["rank1"].dropna().tolist()
    facts["cameras_rank1"] = best[valid]
    facts.attrs["pairs"] = pairs
    return facts


def covered_shares(table: pd.DataFrame) -> Floats:
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


def colours_of(table: pd.DataFrame, rows: Any) -> npt.NDArray[np.float32]:
    """Return the colour histograms [row, cell] of the images in these rows."""
    ranges, paths = ranges_of(table), table["path"].to_numpy()
    found = [
        hsv_histogram(decode(paths[row], (128, 64), None if ranges is None else float(ranges[row]))[None])
        for row in np.asarray(rows).tolist()
    ]
    return np.concatenate([np.zeros((0, 512), np.float32), *found])
