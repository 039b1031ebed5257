"""MSMT17: 4,101 people, fifteen cameras in- and outdoors, four days (Wei et al., CVPR 2018)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from reidlab.data.datasets._common import Expected, assemble, compare, find_root, parse_names
from reidlab.errors import UserError

__all__ = ["EXPECTED", "TEST_OFFSET", "read_msmt17"]

# Identity, number of the image, camera, day and time of day, frame, box: 0000_000_01_0303morning_0008_0.jpg
NAME = re.compile(r"(?P<pid>\d+)_(?P<index>\d+)_(?P<camid>\d+)_(?P<time>[^_]+)_(?P<frame>\d+)(_.*)?\.\w+")
FORM = "PPPP_III_CC_TIME_FFFF_B.jpg"
EXPECTED = {
    "list_train.txt": Expected(30_248, 1_041),
    "list_val.txt": Expected(2_373, 1_041),
    "list_query.txt": Expected(11_659, 3_060),
    "list_gallery.txt": Expected(82_161, 3_060),
}
_SPLITS = {"list_train.txt": "train", "list_val.txt": "val", "list_query.txt": "query", "list_gallery.txt": "gallery"}
_NESTED = ("MSMT17", "MSMT17_V1", "MSMT17_V2")
# The lists count train and test people from 0 each; one table needs one name space.
TEST_OFFSET = 1_041


def read_msmt17(root: Path, *, merge_val: bool = True, partial: bool = False) -> pd.DataFrame:
    """Read MSMT17, version 1 (train, test) or 2 (mask_train_v2, mask_test_v2) by its four lists.

    Test identities are the numbers of the lists plus 1,041, because both halves count from 0.

    Args:
        root: the folder of the lists, or the one that holds MSMT17, MSMT17_V1 or MSMT17_V2.
        merge_val: count list_val as train, as most published numbers do (32,621 images). Its people are those
            of list_train: as a validation set it shares identities, which `attrs["notes"]` then says.
        partial: leave out listed images that are missing; `attrs["notes"]` says how many of how many.
    """
    folder = find_root("msmt17", root, tuple(_SPLITS), _NESTED)
    halves = _halves(folder)
    parts, missing = {}, []
    for name, split in _SPLITS.items():
        half = halves[0] if split in ("train", "val") else halves[1]
        rows = _listed(folder / name, half, split)
        present = np.array([os.path.isfile(path) for path in rows["path"]], dtype=bool)  # noqa: PTH113
        missing += rows.loc[~present, "path"].tolist()
        parts[name] = rows[present]
    found = {name: Expected(len(part), part["pid"].nunique()) for name, part in parts.items()}
    notes = compare("msmt17", folder, EXPECTED, found, partial=partial)
    if missing:
        notes.append(f"msmt17: {len(missing):,} listed images are missing, the first is {missing[0]}.")
    table = pd.concat(list(parts.values()), ignore_index=True)
    if merge_val:
        table.loc[table["split"] == "val", "split"] = "train"
    else:
        notes.append("msmt17: the split val holds other images of the people in train.")
    return assemble("msmt17", table, notes)


def _halves(folder: Path) -> tuple[Path, Path]:
    for train, test in (("train", "test"), ("mask_train_v2", "mask_test_v2")):
        if (folder / train).is_dir() and (folder / test).is_dir():
            return folder / train, folder / test
    raise UserError(f"msmt17: {folder} has neither train and test (V1) nor mask_train_v2 and mask_test_v2 (V2).")


def _listed(list_file: Path, half: Path, split: str) -> pd.DataFrame:
    names, pids = [], []
    for number, line in enumerate(list_file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name, _, pid = line.strip().rpartition(" ")
        if not name or not pid.isdigit():
            raise UserError(f"{list_file}, line {number}: {line!r} is not 'PPPP/NAME.jpg NUMBER'.")
        names.append(name)
        pids.append(int(pid))
    matches = parse_names(names, NAME, FORM)
    rows = pd.DataFrame({"path": [os.path.join(half, name) for name in names]})  # noqa: PTH118
    rows["pid"] = np.array(pids, dtype=np.int64) + (0 if split in ("train", "val") else TEST_OFFSET)
    for column in ("camid", "frame"):
        rows[column] = np.array([int(match[column]) for match in matches], dtype=np.int64)
    return rows.assign(split=split, time=[match["time"] for match in matches])
