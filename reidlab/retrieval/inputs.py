"""Check what `evaluate` and its kin are given: vectors become contiguous floats, identities become codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reidlab.errors import UserError, nearest

__all__ = ["METRICS", "Problem", "as_vectors", "check_choice", "encode", "ids_array", "on_cpu", "prepare"]

METRICS = ("cosine", "euclidean")
MISSING = "the pids of a table are its column 'pid', the camids its column 'camid'"


@dataclass(frozen=True)
class Problem:
    """A ranking task that has passed every check; junk is out, or has code -1.

    `*_codes` and `*_cams` are small integers; `gallery_rows` gives each gallery row's row in the caller's array.
    """

    query: npt.NDArray[Any]
    gallery: npt.NDArray[Any]
    query_codes: npt.NDArray[np.int64]
    gallery_codes: npt.NDArray[np.int64]
    query_cams: npt.NDArray[np.int64] | None
    gallery_cams: npt.NDArray[np.int64] | None
    gallery_rows: npt.NDArray[np.int64]
    metric: str
    n_junk: int


def check_choice(what: str, given: str, choices: Sequence[str]) -> None:
    """Refuse a word that is not among `choices`, naming the nearest."""
    if given not in choices:
        raise UserError(f"{what}={given!r} is not one of {', '.join(choices)}.{nearest(str(given), choices)}")


def on_cpu(given: Any) -> Any:
    """Take a torch tensor from its device; it is told by its manners so that torch need not be imported."""
    return given.detach().cpu() if hasattr(given, "detach") else given


def as_vectors(name: str, given: Any, metric: str = "euclidean") -> npt.NDArray[Any]:
    """Give `given` as a C-contiguous float32 or float64 [image, dim] array without NaN or infinity.

    float16 and float32 become float32, everything else float64; a torch tensor is taken from its device.

    Raises:
        UserError: not a filled table of finite numbers, or (cosine) a row of zeros; names the first such row.
    """
    given = on_cpu(given)
    given = given.float() if str(getattr(given, "dtype", "")) in ("torch.bfloat16", "torch.float16") else given
    vectors = np.asarray(given)
    if vectors.ndim != 2 or 0 in vectors.shape or vectors.dtype.kind not in "fiub":
        raise UserError(
            f"{name} must be numbers of shape [image, dim] with at least one row and column; "
            f"got shape {list(vectors.shape)} of {vectors.dtype}."
        )
    vectors = np.ascontiguousarray(vectors, np.float32 if vectors.dtype in (np.float16, np.float32) else np.float64)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    if not np.isfinite(squares).all():
        bad = ~np.isfinite(vectors).all(axis=1)
        if not bad.any():
            row = int(np.flatnonzero(~np.isfinite(squares))[0])
            raise UserError(f"{name} row {row} is too long for {vectors.dtype}: its squared length overflows.")
        raise UserError(
            f"{name} has NaN or infinity in {bad.sum()} of {len(bad)} rows, first in row {np.flatnonzero(bad)[0]}. "
            "The network that made it diverged, or its input had such values."
        )
    if metric == "cosine" and not squares.all():
        rows = np.flatnonzero(squares == 0)
        raise UserError(
            f"{name} row {rows[0]} is all zeros ({len(rows)} such rows): it has no direction, so no cosine. "
            "Leave it out or use metric='euclidean'."
        )
    return vectors


def ids_array(name: str, given: Any, length: int, vectors: str) -> npt.NDArray[Any]:
    """Give identities or cameras as an int64 or object-of-str array of the wanted length."""
    ids = np.asarray(on_cpu(given))
    if ids.ndim != 1 or len(ids) != length:
        raise UserError(f"{name} has shape {list(ids.shape)}, but {vectors} has {length} rows; {MISSING}.")
    missing = pd.isna(ids)
    if missing.any():
        raise UserError(f"{name} is missing in row {np.flatnonzero(missing)[0]} ({missing.sum()} rows in all).")
    if ids.dtype.kind == "f":
        if (ids != np.floor(ids)).any():
            raise UserError(f"{name} has the number {ids[ids != np.floor(ids)][0]}; give integers or strings.")
        return ids.astype(np.int64)
    if ids.dtype.kind in "iub":
        return ids.astype(np.int64)
    if all(isinstance(value, (int, np.integer)) for value in ids):
        return ids.astype(np.int64)
    return np.array([str(value) for value in ids], dtype=object)


def encode(query: npt.NDArray[Any], gallery: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Give both lists of identities as codes 0, 1, ... (equal where equal); numbers meet strings as strings."""
    if query.dtype != gallery.dtype:
        query, gallery = (np.array([str(value) for value in ids], dtype=object) for ids in (query, gallery))
    codes, _ = pd.factorize(np.concatenate([query, gallery]))
    codes = codes.astype(np.int64)
    return codes[: len(query)], codes[len(query) :]


def _is_junk(ids: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.asarray(ids == (-1 if ids.dtype.kind == "i" else "-1"), dtype=bool)


def prepare(
    query: Any,
    gallery: Any,
    *,
    query_pids: Any,
    query_camids: Any,
    gallery_pids: Any,
    gallery_camids: Any,
    metric: str,
    keep_junk: bool = False,
) -> Problem:
    """Check the arguments of `evaluate` together and take the junk out of the gallery.

    Raises:
        UserError: shapes or lengths differ, nothing is left, a query is junk, or a vector cannot be ranked.
    """
    check_choice("metric", metric, METRICS)
    vectors = {"query": as_vectors("query", query, metric), "gallery": as_vectors("gallery", gallery, metric)}
    if vectors["query"].shape[1] != vectors["gallery"].shape[1]:
        raise UserError(
            f"query vectors have {vectors['query'].shape[1]} dims, gallery vectors {vectors['gallery'].shape[1]}: "
            "they must come from the same model."
        )
    n_query, n_gallery = len(vectors["query"]), len(vectors["gallery"])
    q_pids = ids_array("query_pids", query_pids, n_query, "query")
    g_pids = ids_array("gallery_pids", gallery_pids, n_gallery, "gallery")
    if _is_junk(q_pids).any():
        row = int(np.flatnonzero(_is_junk(q_pids))[0])
        raise UserError(f"query row {row} has pid -1 (junk), which cannot be looked for. Leave such rows out.")
    q_cams = g_cams = None
    if query_camids is not None and gallery_camids is not None:
        q_cams, g_cams = encode(
            ids_array("query_camids", query_camids, n_query, "query"),
            ids_array("gallery_camids", gallery_camids, n_gallery, "gallery"),
        )
    junk = _is_junk(g_pids)
    rows = np.arange(n_gallery) if keep_junk else np.flatnonzero(~junk)
    if not len(rows):
        raise UserError(f"All {n_gallery} gallery images are junk (pid -1): nothing is left to rank.")
    q_codes, g_codes = encode(q_pids, g_pids)
    g_codes[junk] = -1
    common = np.result_type(vectors["query"], vectors["gallery"])
    kept = vectors["gallery"] if len(rows) == n_gallery else vectors["gallery"][rows]
    return Problem(
        query=vectors["query"].astype(common, copy=False),
        gallery=kept.astype(common, copy=False),
        query_codes=q_codes,
        gallery_codes=g_codes[rows],
        query_cams=q_cams,
        gallery_cams=None if g_cams is None else g_cams[rows],
        gallery_rows=rows,
        metric=metric,
        n_junk=int(junk.sum()),
    )
