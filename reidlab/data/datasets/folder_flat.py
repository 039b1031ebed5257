"""Your own images in one folder, with identity and camera in the file names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reidlab.data.datasets._common import assemble, find_root
from reidlab.data.datasets._own import NO_CAMERA, NO_SPLIT, check_split, flat_rows

__all__ = ["read_folder_flat"]


def read_folder_flat(root: Path, *, pattern: str = "", split: str = "") -> pd.DataFrame:
    """Read a folder of PID_CAM_FRAME.jpg (also PID_cCsS_FRAME_BOX.jpg), or PID_FRAME.jpg where no camera is known.

    Args:
        root: the folder.
        pattern: a regular expression for the whole name with the group pid, and camid, sequence, frame if known.
        split: which split the images are; "" makes them train and notes that no split was given.
    """
    find_root("folder_flat", root, ())
    rows = flat_rows(root, check_split(split or "train"), pattern)
    notes = ([] if split else [NO_SPLIT]) + ([] if "camid" in rows else [NO_CAMERA])
    return assemble("folder_flat", rows, notes)
