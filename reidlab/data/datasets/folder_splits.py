"""Your own images in folders train, val, query, gallery, each flat or with a folder per identity."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reidlab.data.datasets._common import assemble, find_root, image_folders, list_images
from reidlab.data.datasets._own import NO_CAMERA, flat_rows, identity_rows
from reidlab.data.schema import SPLITS
from reidlab.errors import UserError, nearest

__all__ = ["read_folder_splits"]


def read_folder_splits(root: Path, *, pattern: str = "", camera: str = "") -> pd.DataFrame:
    """Read ROOT/{train,val,query,gallery,multi_query}/: at least one of them, each flat or per identity.

    Args:
        root: the folder of the split folders.
        pattern: for flat folders, as in folder_flat.
        camera: for folders per identity, as in folder_per_identity.
    """
    find_root("folder_splits", root, ())
    names = [folder.name for folder in image_folders(root)]
    present = [split for split in SPLITS if split in names]
    if not present:
        hints = "".join(nearest(name, SPLITS) for name in names[:1])
        raise UserError(
            f"folder_splits: {root} has none of the folders {', '.join(SPLITS)}.{hints} "
            f"It has: {', '.join(names[:10]) or 'no folder'}."
        )
    parts, notes = [], []
    for split in present:
        folder = root / split
        if list_images(folder, allow_empty=True) and not image_folders(folder):
            parts.append(flat_rows(folder, split, pattern))
            continue
        rows, empty = identity_rows(folder, split, camera)
        parts.append(rows)
        if empty:
            notes.append(f"{len(empty):,} identity folders in {split} hold no image: {', '.join(empty[:5])}.")
    strangers = [name for name in names if name not in SPLITS]
    if strangers:
        notes.append(f"Folders that are not named after a split were not read: {', '.join(strangers[:5])}.")
    rows = pd.concat(parts, ignore_index=True)
    if "camid" not in rows:
        notes.append(NO_CAMERA)
    return assemble("folder_splits", rows, notes)
