"""The index of a gallery: made for one search, or kept in a folder and brought up to date."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidlab.errors import UserError
from reidlab.paths import exists, expanded
from reidlab.search.embedded import EmbeddedFiles

if TYPE_CHECKING:
    from reidlab.retrieval import Index

__all__ = ["check_kept", "gallery_index"]


def check_kept(folder: str | os.PathLike[str] | None, model: str, kind: str | None) -> None:
    """Refuse a kept index that the search could not use, by what it says of itself: nothing is embedded for nothing.

    Args:
        folder: where the index is kept; None keeps none, and a folder that is not there is fine.
        model: fingerprint of what makes the vectors.
        kind: that is wanted; None takes any.

    Raises:
        UserError: the folder holds something else, or an index of another model or kind.
    """
    from reidlab.retrieval.index.reading import check_model, read_manifest, retried

    if folder is None or not exists(place := Path(expanded(folder, "index"))):
        return
    about = retried(place, read_manifest)
    check_model(place, about, model)
    _check_kind(place, about["kind"], kind)


def gallery_index(
    gallery: EmbeddedFiles, model: str, folder: str | os.PathLike[str] | None, kind: str | None
) -> tuple[Index, tuple[str, ...]]:
    """Return the index of these files and what there is to say of it.

    Args:
        gallery: files and their vectors.
        model: fingerprint of what made the vectors.
        folder: where the index is kept; None keeps none. One that is there loses the files that are gone, and takes new
            and changed ones; nothing else of it is computed again.
        kind: of the index; None: that of the one that is kept, flat for one that is made.

    Raises:
        UserError: the folder holds something else, an index of another model or kind, or a damaged one.
    """
    from reidlab.retrieval import Index

    made_as = kind or "flat"
    if folder is None:
        return Index.build(gallery.vectors, gallery.files, kind=made_as, model=model), ()
    place = Path(expanded(folder, "index"))
    if not exists(place):
        made = Index.build(gallery.vectors, gallery.files, kind=made_as, model=model)
        made.save(place)
        return made, (f"The index was made and is kept in {place}.", *made.said)
    kept = Index.load(place, model=model)
    _check_kind(place, kept.kind, kind)
    gone, new = _differences(kept, gallery)
    if not gone and not new:
        return kept, ()
    kept.remove(gone)
    if new:
        kept.add(gallery.vectors[new], [gallery.files[row] for row in new])
    kept.save(place)
    n_gone, n_new = len(set(gone) - {gallery.files[row] for row in new}), len(new)
    return kept, (f"The index in {place} was brought up to date: {n_new:,} files new or changed, {n_gone:,} gone.",)


def _check_kind(place: Path, kept: str, wanted: str | None) -> None:
    if wanted not in (None, kept):
        raise UserError(
            f"{place} holds an index of kind {kept}, not {wanted}. Name another folder for {wanted}, or no kind: the "
            f"{kept} one is used then."
        )


def _differences(kept: Index, gallery: EmbeddedFiles) -> tuple[list[str], list[int]]:
    """Return the ids that are gone or have another vector now, and the rows of the gallery that are to be added."""
    row_of = {file: row for row, file in enumerate(gallery.files)}
    rows = np.array([row_of.get(file, -1) for file in kept.ids], np.int64)
    there = rows >= 0
    held = kept.vectors[np.flatnonzero(there)]
    wanted = kept.normal(gallery.vectors[rows[there]])
    same = np.zeros(len(rows), bool)
    same[there] = (np.asarray(held) == wanted).all(axis=1)
    gone = [file for file, good in zip(kept.ids, same) if not good]
    unchanged = set(rows[same].tolist())
    return gone, [row for row in range(len(gallery)) if row not in unchanged]
