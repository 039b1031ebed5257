"""Splits of an image table, all of them drawn from a seed; only `group_copies` writes files.

A draw depends on the identities, cameras and paths, never on the order of the rows. The order of the rows is kept.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from reidlab.data.copies import group_copies
from reidlab.data.schema import check_table, is_distractor, is_junk, notes_of
from reidlab.errors import UserError

__all__ = [
    "SHARED_IDENTITIES",
    "TEST_AS_VALIDATION",
    "group_copies",
    "make_query_gallery",
    "remove_identities_under",
    "split_by_identity",
    "split_by_image",
    "test_to_validation",
]

SHARED_IDENTITIES = (
    "Split by image: training and validation share identities, so validation says how well known people are "
    "recognised, not how well new ones are."
)
TEST_AS_VALIDATION = (
    "Validation images were taken from the gallery: whatever is chosen on them is chosen on test identities, "
    "and test scores after that are too good."
)


def split_by_identity(table: pd.DataFrame, *, val_share: float = 0.1, seed: int = 0) -> pd.DataFrame:
    """Move every image of a random share of the training identities to val: nobody is in both. The default split.

    Images that were already in val count as training images first; junk and distractors stay in train.

    Args:
        table: an image table.
        val_share: share of the identities, between 0 and 1; at least one identity stays on each side.
        seed: of the draw.
    """
    _check_share("val_share", val_share)
    prepared, pool = _training_pool(check_table(table))
    people = _sorted_unique(prepared.loc[pool, "pid"])
    if len(people) < 2:
        raise UserError(f"A split by identity needs two identities in train; the table has {len(people)}.")
    count = min(max(round(val_share * len(people)), 1), len(people) - 1)
    chosen = np.random.default_rng(seed).permutation(len(people))[:count]
    held = prepared["pid"].isin([people[i] for i in chosen])
    prepared.loc[pool & held, "split"] = "val"
    return prepared


def split_by_image(table: pd.DataFrame, *, val_share: float = 0.2, seed: int = 0) -> pd.DataFrame:
    """Move a random share of the training images to val, the same people on both sides.

    Published systems do this; it is not a test of re-identification. The table says so in `attrs["notes"]`
    (`SHARED_IDENTITIES`).
    """
    _check_share("val_share", val_share)
    prepared, pool = _training_pool(check_table(table))
    rows = _by_path(prepared, np.flatnonzero(pool))
    if len(rows) < 2:
        raise UserError(f"A split by image needs two images in train; the table has {len(rows)}.")
    count = min(max(round(val_share * len(rows)), 1), len(rows) - 1)
    chosen = np.random.default_rng(seed).permutation(rows)[:count]
    prepared.loc[chosen, "split"] = "val"
    return _noted(prepared, SHARED_IDENTITIES)


def test_to_validation(table: pd.DataFrame, *, share: float = 0.4, min_images: int = 2, seed: int = 0) -> pd.DataFrame:
    """Turn a share of each gallery identity's images into val, and drop validation identities with too few.

    For each identity with n gallery images, int(share * n) random ones move; then validation identities with fewer
    than `min_images` images are removed from the table. Junk, distractors and queries stay where they are. It
    validates on test identities, which `attrs["notes"]` says (`TEST_AS_VALIDATION`); an existing val is refused.
    """
    _check_share("share", share)
    if min_images < 1:
        raise UserError(f"min_images={min_images} should be at least 1.")
    prepared = check_table(table)
    if (prepared["split"] == "val").any():
        raise UserError("The table has a val split already: two kinds of validation images must not be mixed.")
    pool = (prepared["split"] == "gallery") & ~is_junk(prepared) & ~is_distractor(prepared)
    if not pool.any():
        raise UserError("The table has no gallery images of known identities to make validation images of.")
    generator = np.random.default_rng(seed)
    dropped, identities = [], 0
    for rows in _identity_rows(prepared, pool):
        moved = generator.permutation(rows)[: int(share * len(rows))]
        if 0 < len(moved) < min_images:
            dropped += moved.tolist()
            identities += 1
        else:
            prepared.loc[moved, "split"] = "val"
    if not (prepared["split"] == "val").any():
        raise UserError(f"share={share} of at most {max(map(len, _identity_rows(prepared, pool)))} images is too few.")
    notes = [TEST_AS_VALIDATION]
    if dropped:
        notes.append(f"{len(dropped):,} images of {identities:,} validation identities under {min_images} removed.")
    return _noted(prepared.drop(index=dropped).reset_index(drop=True), *notes)


def make_query_gallery(table: pd.DataFrame, *, split: str = "val", seed: int = 0) -> pd.DataFrame:
    """Make queries and a gallery of one split, for data that has none.

    One random image per identity and camera becomes a query, the others the gallery. A query has to have a right
    answer that counts, in the gallery and (where cameras are known) in another camera; an image without one goes to
    the gallery, and `attrs["notes"]` counts these. Without cameras it is one query per identity.

    Args:
        table: an image table without query and gallery.
        split: what is divided; the people in it must not be trained on.
        seed: of the draw.
    """
    prepared = check_table(table)
    if prepared["split"].isin(["query", "gallery"]).any():
        raise UserError("The table has query or gallery images already.")
    here = prepared["split"] == split
    if not here.any():
        present = ", ".join(prepared["split"].unique())
        raise UserError(f"The table has no images in split {split!r}; it has {present}. Split it first.")
    prepared.loc[here, "split"] = "gallery"
    generator = np.random.default_rng(seed)
    cameras = prepared["camid"].to_numpy() if "camid" in prepared else np.zeros(len(prepared), dtype=np.int64)
    queries, without = [], 0
    for rows in _identity_rows(prepared, here & ~is_junk(prepared) & ~is_distractor(prepared)):
        chosen, refused = _queries_of(rows, cameras[rows], "camid" in prepared, generator)
        queries += chosen
        without += refused
    if not queries:
        raise UserError(
            f"No image of split {split!r} can be a query: no identity has an image in another camera"
            f"{'' if 'camid' in prepared else ' or a second image'}."
        )
    prepared.loc[queries, "split"] = "query"
    if without:
        return _noted(prepared, f"{without:,} would-be queries have no right answer in the gallery and stay in it.")
    return prepared


def _queries_of(
    rows: np.ndarray, cameras: np.ndarray, known: bool, generator: np.random.Generator
) -> tuple[list[int], int]:
    """Pick queries of one identity: one per camera, as long as the remaining images still answer each of them.

    A camera whose only image would be the last answer of another query keeps it in the gallery.
    """
    order = generator.permutation(len(rows))
    first: dict[object, int] = {}
    for i in order:
        first.setdefault(cameras[i], int(i))
    left = {camera: int((cameras == camera).sum()) for camera in first}
    chosen: list[object] = []

    def answered(camera: object, left_then: dict[object, int]) -> bool:
        return any(count and (not known or other != camera) for other, count in left_then.items())

    # cameras with most images first: they lose least by giving one away
    for camera in sorted(first, key=lambda name: -left[name]):
        then = {**left, camera: left[camera] - 1}
        if all(answered(name, then) for name in [*chosen, camera]):
            chosen.append(camera)
            left = then
    return [int(rows[first[camera]]) for camera in chosen], len(first) - len(chosen)


def remove_identities_under(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Leave out identities with fewer than `n` images in train (and, counted apart, in val).

    Other splits, junk and distractors stay. `attrs["notes"]` says how many went.
    """
    prepared = check_table(table)
    known = ~is_junk(prepared) & ~is_distractor(prepared) & prepared["split"].isin(["train", "val"])
    sizes = prepared[known].groupby(["split", "pid"])["path"].transform("size")
    gone = sizes.index[sizes < n]
    if len(gone) == 0:
        return prepared
    people = prepared.loc[gone, "pid"].nunique()
    note = f"{len(gone):,} images of {people:,} identities with fewer than {n} images removed."
    return _noted(prepared.drop(index=gone).reset_index(drop=True), note)


def _check_share(name: str, share: float) -> None:
    if not 0 < share < 1:
        raise UserError(f"{name}={share!r} should be between 0 and 1.")


def _training_pool(prepared: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Make val train again in a checked table, and return it with which of its rows may be drawn."""
    prepared.loc[prepared["split"] == "val", "split"] = "train"
    return prepared, (prepared["split"] == "train") & ~is_junk(prepared) & ~is_distractor(prepared)


def _sorted_unique(pids: pd.Series) -> list[object]:
    return sorted(pids.unique().tolist())


def _by_path(table: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """Sort row numbers by path, so that a draw does not see the order of the table."""
    paths = table["path"].to_numpy()
    return np.array(sorted(rows.tolist(), key=lambda row: paths[row]), dtype=np.int64)


def _identity_rows(table: pd.DataFrame, pool: pd.Series) -> list[np.ndarray]:
    """Return the rows of each identity in `pool`, identities in order, rows in the order of their paths."""
    rows = _by_path(table, np.flatnonzero(pool))
    pids = table["pid"].to_numpy()
    groups: dict[object, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(pids[row], []).append(row)
    return [np.array(groups[pid], dtype=np.int64) for pid in sorted(groups)]  # type: ignore[type-var]


def _noted(table: pd.DataFrame, *notes: str) -> pd.DataFrame:
    table.attrs["notes"] = [*[note for note in notes_of(table) if note not in notes], *notes]
    return table
