"""CUHK01: 971 people, two cameras, two images from each (Li, Zhao, Wang, ACCV 2012)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from reidlab.data.datasets._common import Expected, assemble, compare, find_root, list_images, parse_names
from reidlab.errors import UserError

__all__ = ["EXPECTED", "read_cuhk01"]

NAME = re.compile(r"(?P<pid>\d{4})(?P<index>\d{3})\.\w+")
EXPECTED = {"images": Expected(3_884, 971)}


def read_cuhk01(root: Path, *, test_identities: int = 486, seed: int = 0, partial: bool = False) -> pd.DataFrame:
    """Read CUHK01 and split it by identity, 485 to train and 486 to test as usual.

    No list was ever published: papers draw at random, ten times, and report the mean. `seed` draws one of these.
    Queries are the images of camera 1 (numbers 001, 002), the gallery those of camera 2 (003, 004).

    Args:
        root: the folder of the images, or the one that holds campus/ or CUHK01/.
        test_identities: 486, or 100 for the other protocol in use (871 to train).
        seed: of the draw.
        partial: accept a copy with other counts; `attrs["notes"]` says how many of how many.
    """
    folder = next((root / child for child in ("campus", "CUHK01/campus", "CUHK01") if (root / child).is_dir()), root)
    find_root("cuhk01", folder, ())
    files = list_images(folder)
    matches = parse_names(files, NAME, "PPPPNNN.png")
    pids = np.array([int(match["pid"]) for match in matches], dtype=np.int64)
    index = np.array([int(match["index"]) for match in matches], dtype=np.int64)
    people = np.unique(pids)
    notes = compare("cuhk01", folder, EXPECTED, {"images": Expected(len(files), len(people))}, partial=partial)
    strange = [Path(file).name for file, number in zip(files, index) if not 1 <= number <= 4]
    if strange:
        raise UserError(f"cuhk01: image numbers must be 001 to 004, but are not in {', '.join(strange[:5])}.")
    if not 0 < test_identities < len(people):
        raise UserError(f"cuhk01: test_identities={test_identities} is not between 1 and {len(people) - 1}.")
    tested = np.random.default_rng(seed).permutation(people)[:test_identities]
    camera = 1 + (index - 1) // 2
    split = np.where(np.isin(pids, tested), np.where(camera == 1, "query", "gallery"), "train")
    rows = pd.DataFrame({"path": files, "pid": pids, "camid": camera, "split": split})
    return assemble("cuhk01", rows, notes)
