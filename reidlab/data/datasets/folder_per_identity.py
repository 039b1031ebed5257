"""Your own images, one folder per identity."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reidlab.data.datasets._common import assemble, find_root
from reidlab.data.datasets._own import NO_CAMERA, NO_SPLIT, check_split, identity_rows

__all__ = ["read_folder_per_identity"]


def read_folder_per_identity(root: Path, *, camera: str = "", split: str = "") -> pd.DataFrame:
    """Read ROOT/PID/*.jpg.

    Args:
        root: the folder of the identity folders.
        camera: a regular expression that finds the camera in the file name: its group camid, or its first group.
        split: which split the images are; "" makes them train and notes that no split was given.
    """
    find_root("folder_per_identity", root, ())
    rows, empty = identity_rows(root, check_split(split or "train"), camera)
    notes = ([] if split else [NO_SPLIT]) + ([] if camera else [NO_CAMERA])
    if empty:
        notes.append(f"{len(empty):,} identity folders hold no image: {', '.join(empty[:5])}.")
    return assemble("folder_per_identity", rows, notes)
