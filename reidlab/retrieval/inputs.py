"""Check what `evaluate` and its kin are given: vectors become contiguous floats, identities become codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int64

from reidlab.errors import UserError, shown
from reidlab.ids import as_ids, shared_codes
from reidlab.registry import METRICS
from reidlab.retrieval.checks import check_choice
from reidlab.retrieval.vectors import Embeddings, Labels, as_slice, both_sides

__all__ = ["Problem", "as_vectors", "is_junk_id", "problem_of"]

Ids = npt.NDArray[Any]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """A ranking task that has passed every check; junk is out, or has code -1.

    `*_codes`, `*_cams` and `*_images` are small integers; `gallery_rows` gives each gallery row's row in the caller's
    array. `query_ids`, `query_cam_ids` and `gallery_ids` are identities and cameras as they were given, in normal form.
    """

    query: Float[np.ndarray, "query dim"]
    gallery: Float[np.ndarray, "gallery dim"]
    query_codes: Int64[np.ndarray, " query"]
    gallery_codes: Int64[np.ndarray, " gallery"]
    query_cams: Codes | None
    gallery_cams: Codes | None
    query_images: Codes | None
    gallery_images: Codes | None
    gallery_rows: Codes
    query_ids: Ids
    query_cam_ids: Ids | None
    gallery_ids: Ids
    metric: str
    n_junk: int
    notes: tuple[str, ...] = ()

    @property
    def n_same_image(self) -> int | None:
        """Count the queries that stand in the gallery themselves; None where nobody said which images are the same."""
        if self.query_images is None or self.gallery_images is None:
            return None
        return int(np.isin(self.query_images, self.gallery_images).sum())

    def is_ignored(
        self, query: Codes | int, column: Codes | slice, *, cameras: bool = True
    ) -> Bool[np.ndarray, " pair"]:
        """Return whether gallery images are neither right nor wrong for queries: the rule stands here alone.

        Ignored are junk, images of the query's identity and camera, and the query itself.

        Args:
            query: rows of queries, beside `column`, or one for all of them.
            column: gallery columns.
            cameras: False leaves out the rule of identity and camera.
        """
        ignored: npt.NDArray[np.bool_] = self.gallery_codes[column] == -1
        if cameras and self.query_cams is not None and self.gallery_cams is not None:
            same = self.query_codes[query] == self.gallery_codes[column]
            ignored |= same & (self.query_cams[query] == self.gallery_cams[column])
        if self.query_images is not None and self.gallery_images is not None:
            ignored |= self.query_images[query] == self.gallery_images[column]
        return ignored

    def ignored_block(self, rows: Codes) -> Bool[np.ndarray, "row gallery"]:
        """Return `is_ignored` of queries, given by their rows, and the whole gallery."""
        alike = self.query_codes[rows, None] == self.gallery_codes
        if self.query_images is not None and self.gallery_images is not None:
            alike |= self.query_images[rows, None] == self.gallery_images
        alike[:, self.gallery_codes == -1] = True
        row, column = np.nonzero(alike)  # few: only among them can be any that are ignored
        alike[row, column] = self.is_ignored(rows[row], column)
        return alike

    def for_queries(self, rows: Codes) -> Problem:
        """Return the problem of these queries alone."""
        return self._with_rows(rows, "query", "query_codes", "query_cams", "query_images", "query_ids", "query_cam_ids")

    def for_gallery(self, columns: Codes) -> Problem:
        """Return the problem with these gallery images alone."""
        names = ("gallery", "gallery_codes", "gallery_cams", "gallery_images", "gallery_rows", "gallery_ids")
        return self._with_rows(columns, *names)

    def without_junk(self) -> Problem:
        """Return the problem without the gallery's junk; no vector is copied where the rest stands together.

        Raises:
            UserError: all of the gallery is junk.
        """
        if not self.n_junk:
            return self
        rows = np.flatnonzero(self.gallery_codes != -1)
        if not len(rows):
            raise UserError(f"All {self.n_junk} gallery images are junk (pid -1): nothing is left to rank.")
        return self.for_gallery(rows)

    def _with_rows(self, rows: Codes, *names: str) -> Problem:
        held, part = {name: getattr(self, name) for name in names}, as_slice(rows)
        chosen: dict[str, Any] = {name: value if value is None else value[part] for name, value in held.items()}
        return replace(self, **chosen)


def as_vectors(name: str, given: npt.ArrayLike, metric: str = "euclidean") -> Float[np.ndarray, "image dim"]:
    """Return `given` as a C-contiguous float32 or float64 [image, dim] array without NaN or infinity.

    float16 and float32, and torch's smaller floats, become float32, everything else float64; a torch tensor is taken
    from its device.

    Raises:
        UserError: not a filled table of finite numbers, or (cosine) a row of zeros; names the first such row.
    """
    vectors = _array(name, given)
    if vectors.ndim != 2 or 0 in vectors.shape or vectors.dtype.kind not in "fiub":
        raise UserError(
            f"{name} must be numbers of shape [image, dim] with at least one row and column; "
            f"got shape {list(vectors.shape)} of {vectors.dtype}."
        )
    with np.errstate(over="ignore", under="ignore"):  # both are looked for below
        narrow = vectors.dtype in (np.float16, np.float32)
        vectors = np.ascontiguousarray(vectors, np.float32 if narrow else np.float64)
        squares = np.einsum("ij,ij->i", vectors, vectors)
    limits = np.finfo(vectors.dtype)
    if not (squares < limits.max / 4).all():  # a fourth: distances add up a few of them
        bad = ~np.isfinite(vectors).all(axis=1)
        if not bad.any():
            row = int(np.flatnonzero(~(squares < limits.max / 4))[0])
            raise UserError(f"{name} row {row} is too long for {vectors.dtype}: its squared length overflows.")
        raise UserError(
            f"{name} has NaN or infinity in {bad.sum()} of {len(bad)} rows, first in row {np.flatnonzero(bad)[0]}. "
            "The network that made it diverged, or its input had such values."
        )
    if METRICS.build(metric).needs_direction and not (squares >= limits.tiny).all():
        rows = np.flatnonzero(squares < limits.tiny)
        zero = not vectors[rows[0]].any()
        what = "all zeros" if zero else f"so short that its squared length is lost in {vectors.dtype}"
        raise UserError(
            f"{name} row {rows[0]} is {what} ({len(rows)} such rows): it has no direction, so no cosine. "
            f"{'Leave it out' if zero else 'Scale it up'} or use metric='euclidean'."
        )
    return vectors


def _array(name: str, given: Any) -> npt.NDArray[Any]:
    """Make a NumPy array of whatever came."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.getmaskarray(given).any():
        raise UserError(f"{name} is a masked array with masked values. Fill them in, or leave those images out.")
    if not isinstance(given, np.ndarray) and hasattr(given, "toarray"):
        raise UserError(f"{name} is sparse ({type(given).__name__}): give {name}.toarray().")
    try:
        if hasattr(given, "detach"):  # a torch tensor; torch is not imported to find out
            given = given.detach().cpu()
            kind = str(getattr(given, "dtype", ""))
            given = given.float() if kind == "torch.bfloat16" or kind.startswith("torch.float8") else given
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{name} must be numbers of shape [image, dim], every row of one length ({first}).") from None


def is_junk_id(ids: Ids) -> npt.NDArray[np.bool_]:
    """Return which identities are junk: -1, or "-1"."""
    return np.asarray(ids == (-1 if ids.dtype.kind == "i" else "-1"), dtype=bool)


def problem_of(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    of_query: Labels,
    of_gallery: Labels,
    *,
    metric: str,
    keep_junk: bool = False,
) -> Problem:
    """Check the arguments of `evaluate` together and take the junk out of the gallery.

    Raises:
        UserError: shapes or lengths differ, nothing is left, a query is junk, or a vector cannot be ranked.
    """
    check_choice("metric", metric, METRICS)
    (q, of_query), (g, of_gallery) = both_sides(query, gallery, of_query, of_gallery)
    q, g = as_vectors("query", q, metric), as_vectors("gallery", g, metric)
    if q.shape[1] != g.shape[1]:
        raise UserError(
            f"query vectors have {q.shape[1]} dims, gallery vectors {g.shape[1]}: they must come from the same model."
        )
    known, others = _checked("query", of_query, len(q)), _checked("gallery", of_gallery, len(g))
    if is_junk_id(known.pids).any():
        row = int(np.flatnonzero(is_junk_id(known.pids))[0])
        raise UserError(f"query row {row} has pid -1 (junk), which cannot be looked for. Leave such rows out.")
    junk = is_junk_id(others.pids)
    query_codes, gallery_codes = shared_codes(known.pids, others.pids)
    gallery_codes[junk] = -1
    query_cams, gallery_cams = _shared_codes(known.camids, others.camids)
    query_images, gallery_images = _shared_codes(known.images, others.images)
    common = np.result_type(q, g)
    problem = Problem(
        query=q.astype(common, copy=False),
        gallery=g.astype(common, copy=False),
        query_codes=query_codes,
        gallery_codes=gallery_codes,
        query_cams=query_cams,
        gallery_cams=gallery_cams,
        query_images=query_images,
        gallery_images=gallery_images,
        gallery_rows=np.arange(len(g)),
        query_ids=known.pids,
        query_cam_ids=known.camids,
        gallery_ids=others.pids,
        metric=metric,
        n_junk=int(junk.sum()),
        notes=_notes((known.camids, others.camids)),
    )
    return problem if keep_junk else problem.without_junk()


def _checked(side: str, labels: Labels, length: int) -> Labels:
    """Return the labels of one side in normal form; those that are not given stay None."""
    named = labels._asdict().items()
    return Labels(*(None if given is None else as_ids(f"{side}_{what}", given, length, side) for what, given in named))


def _shared_codes(query: Ids | None, gallery: Ids | None) -> tuple[Codes | None, Codes | None]:
    """Return codes of both sides, or None for both where one is not known."""
    if query is None or gallery is None:
        return None, None
    of_query, of_gallery = shared_codes(query, gallery)
    return of_query, of_gallery


def _notes(cams: tuple[Ids | None, Ids | None]) -> tuple[str, ...]:
    """Return what a reader of any score on this problem has to know."""
    query, gallery = _shared_codes(*cams)
    if query is None or gallery is None or np.isin(query, gallery).any():
        return ()
    names = [
        ", ".join(shown(name) for name in list(dict.fromkeys(side.tolist()))[:3]) for side in cams if side is not None
    ]
    return (
        f"query and gallery have no camera in common (query {names[0]}; gallery {names[1]}), so that no image was "
        "ignored for its camera: if one camera is written in two ways, write it in one",
    )
