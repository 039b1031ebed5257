"""Market-1501: 1,501 people in front of a supermarket, six cameras (Zheng et al., ICCV 2015)."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from reidlab.data.datasets._common import Expected, assemble, compare, find_root, list_images, parsed_rows
from reidlab.errors import UserError

__all__ = ["EXPECTED", "NAME", "market_rows", "read_market1501"]

# Identity, camera, sequence, frame, number of the box in the frame. Six queries of person 1488 are .jpg.jpg.
NAME = re.compile(r"(?P<pid>-1|\d{1,6})_c(?P<camid>\d+)s(?P<sequence>\d+)_(?P<frame>\d+)_(?P<box>\d+)(\.\w+)+")
FORM = "PPPP_cCsS_FFFFFF_BB.jpg"
EXPECTED = {
    "bounding_box_train": Expected(12_936, 751),
    "query": Expected(3_368, 750),
    "bounding_box_test": Expected(19_732, 750),  # 15,913 without junk; identities without 0 and -1
    "gt_bbox": Expected(25_259, 1_501),
}
_SPLITS = {
    "bounding_box_train": "train",
    "query": "query",
    "bounding_box_test": "gallery",
    "gt_bbox": "multi_query",
}
_NESTED = ("Market-1501-v15.09.15", "Market-1501", "market1501")
_DISTRACTORS = ("distractors_500k/images", "distractors_500k", "images", "distractors")


def read_market1501(
    root: Path, *, multi_query: bool = True, distractors_500k: bool = False, partial: bool = False
) -> pd.DataFrame:
    """Read Market-1501; `root` is Market-1501-v15.09.15 or the folder that holds it.

    bounding_box_test is the gallery with its 3,819 junk boxes (pid -1) and its distractors (pid 0,
    `distractor` True). gt_bbox, the hand-drawn boxes, is the split multi_query: the 12,692 boxes of the test
    identities are kept, those of the training identities left out, because multi-query evaluation averages
    over boxes of a query's person and nothing else reads them.

    Args:
        root: folder of the data set.
        multi_query: read gt_bbox where it exists.
        distractors_500k: add the 500,000 extra distractors to the gallery (pid 0), from the folder images,
            distractors or distractors_500k in `root`.
        partial: accept a copy with other counts; `attrs["notes"]` says how many of how many.
    """
    folder = find_root("market1501", root, ("bounding_box_train", "query", "bounding_box_test"), _NESTED)
    notes = []
    names = [name for name in _SPLITS if name != "gt_bbox" or multi_query]
    if multi_query and not (folder / "gt_bbox").is_dir():
        names.remove("gt_bbox")
        notes.append("market1501: no folder gt_bbox, so no multi-query evaluation.")
    parts = {name: market_rows(list_images(folder / name), _SPLITS[name]) for name in names}
    found = {name: Expected(len(part), part.loc[part["pid"] > 0, "pid"].nunique()) for name, part in parts.items()}
    notes += compare("market1501", folder, {name: EXPECTED[name] for name in names}, found, partial=partial)
    if "gt_bbox" in parts:
        boxes = parts["gt_bbox"]
        parts["gt_bbox"] = boxes[boxes["pid"].isin(parts["query"]["pid"].unique())]
    if distractors_500k:
        parts["distractors"] = _extra_distractors(folder)
    return assemble("market1501", pd.concat(list(parts.values()), ignore_index=True), notes)


def market_rows(files: list[str], split: str) -> pd.DataFrame:
    """Return the rows of files named as in Market-1501; pid 0 is a distractor, pid -1 junk."""
    rows = parsed_rows(files, NAME, FORM, ("pid", "camid", "sequence", "frame"))
    return rows.assign(split=split, distractor=rows["pid"] == 0)


def _extra_distractors(folder: Path) -> pd.DataFrame:
    """Read the 500k set: every identity is 0, the camera is read where a name has it."""
    for name in _DISTRACTORS:
        if (folder / name).is_dir() and (files := list_images(folder / name, allow_empty=True)):
            break
    else:
        raise UserError(
            f"market1501: distractors_500k is on, but {folder} has no folder "
            f"{', '.join(_DISTRACTORS)} with images in it. Unpack them there or turn the option off."
        )
    rows = pd.DataFrame({"path": files})
    rows["pid"] = 0
    cameras = [re.search(r"_c(\d+)", Path(file).name) for file in files]
    rows["camid"] = [int(match[1]) if match else -1 for match in cameras]
    return rows.assign(split="gallery", sequence=-1, frame=-1, distractor=True)
