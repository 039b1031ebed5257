"""CUHK03: 1,467 people, five pairs of cameras, boxes by hand and by a detector (Li et al., CVPR 2014).

Two forms are read. The 767/700 protocol (Zhong et al., CVPR 2017): cuhk03_new_protocol_config_{labeled,detected}.mat
beside images_{labeled,detected}/ with names camp_pid_cam_idx.png. Plain folders:
{labeled,detected}/{train,val}/PPPP_NN.jpg, where NN 00-04 is camera 1 and 05-09 camera 2.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from reidlab.data.datasets._common import Expected, assemble, compare, find_root, list_images, parse_names
from reidlab.errors import UserError, nearest

__all__ = ["EXPECTED", "VAL_OFFSET", "read_cuhk03"]

EXPECTED = {
    "labeled": {"train": Expected(7_368, 767), "query": Expected(1_400, 700), "gallery": Expected(5_328, 700)},
    "detected": {"train": Expected(7_365, 767), "query": Expected(1_400, 700), "gallery": Expected(5_332, 700)},
}
ALL_IMAGES = {"labeled": 14_096, "detected": 14_097}
PROTOCOL_NAME = re.compile(r"(?P<pair>\d+)_(?P<number>\d+)_(?P<camid>\d+)_(?P<index>\d+)\.\w+")
FOLDER_NAME = re.compile(r"(?P<pid>\d{4})_(?P<index>\d{2})\.\w+")
# Both folders of the plain form count people from 0000, and these are different people.
VAL_OFFSET = 1_000


def read_cuhk03(root: Path, *, boxes: str = "labeled", partial: bool = False) -> pd.DataFrame:
    """Read CUHK03 in the form that stands in `root`.

    In the plain form there is no query and no gallery: it is one camera pair of five, always partial, and
    `attrs["notes"]` says so; the identities of val are the numbers of the names plus 1,000. Folders
    ending in _resized are not read.

    Args:
        root: the folder that holds the .mat file and the images, or labeled/ and detected/.
        boxes: "labeled" (drawn by hand) or "detected".
        partial: leave out images of the protocol that are missing; `attrs["notes"]` says how many of how many.
    """
    if boxes not in EXPECTED:
        raise UserError(f"cuhk03: boxes={boxes!r} is not one of labeled, detected.{nearest(boxes, EXPECTED)}")
    nested = ("cuhk03", "CUHK03", "cuhk03_release", "CUHK03_New_protocol")
    config = f"cuhk03_new_protocol_config_{boxes}.mat"
    for folder in (root, *(root / child for child in nested)):
        if (folder / config).is_file():
            return _read_protocol(folder, config, boxes, partial)
    if (root / boxes / "train").is_dir():
        return _read_folders(root, boxes)
    return _read_protocol(find_root("cuhk03", root, (config, f"images_{boxes}"), nested), config, boxes, partial)


def _read_protocol(folder: Path, config: str, boxes: str, partial: bool) -> pd.DataFrame:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    find_root("cuhk03", folder, (config, f"images_{boxes}"))
    try:
        protocol = loadmat(folder / config)
        names = np.array([str(np.ravel(cell)[0]) for cell in protocol["filelist"].ravel()], dtype=object)
        labels = protocol["labels"].ravel().astype(np.int64)
        picked = {split: protocol[f"{split}_idx"].ravel().astype(np.int64) - 1 for split in EXPECTED[boxes]}
    except (MatReadError, ValueError, TypeError, LookupError, NotImplementedError, OSError) as error:
        raise UserError(
            f"cuhk03: {folder / config} cannot be read as the protocol: {type(error).__name__}: {error}"
        ) from None
    matches = parse_names(list(names), PROTOCOL_NAME, "PAIR_PID_CAM_INDEX.png")
    cameras = np.array([int(match["camid"]) for match in matches], dtype=np.int64)
    pairs = np.array([int(match["pair"]) for match in matches], dtype=np.int64)
    images = {Path(path).name: path for path in list_images(folder / f"images_{boxes}")}
    parts, found = [], {}
    for split, rows in picked.items():
        rows = rows[[name in images for name in names[rows]]]
        found[split] = Expected(len(rows), len(np.unique(labels[rows])))
        part = pd.DataFrame({"path": [images[name] for name in names[rows]], "pid": labels[rows]})
        parts.append(part.assign(camid=cameras[rows], split=split, pair=pairs[rows]))
    notes = compare(f"cuhk03 {boxes}", folder, EXPECTED[boxes], found, partial=partial)
    return assemble("cuhk03", pd.concat(parts, ignore_index=True), notes)


def _read_folders(root: Path, boxes: str) -> pd.DataFrame:
    parts = []
    for split, offset in (("train", 0), ("val", VAL_OFFSET)):
        if split == "val" and not (root / boxes / split).is_dir():
            continue
        files = list_images(root / boxes / split)
        matches = parse_names(files, FOLDER_NAME, "PPPP_NN.jpg")
        index = np.array([int(match["index"]) for match in matches], dtype=np.int64)
        pids = np.array([int(match["pid"]) for match in matches], dtype=np.int64)
        if pids.max() >= VAL_OFFSET:
            raise UserError(
                f"cuhk03: {root / boxes / split} has identities from {VAL_OFFSET} up; names count from 0000."
            )
        part = pd.DataFrame({"path": files, "pid": pids + offset, "camid": 1 + index // 5, "split": split})
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True)
    notes = [
        f"Partial copy of cuhk03 {boxes}: {len(rows):,} of {ALL_IMAGES[boxes]:,} images, "
        f"{rows['pid'].nunique():,} of 1,467 identities, no query and no gallery. "
        "Results cannot be compared with published ones."
    ]
    return assemble("cuhk03", rows, notes)
