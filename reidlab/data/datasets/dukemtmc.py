"""DukeMTMC-reID: 1,404 people on a campus, eight cameras (Ristani et al. 2016; Zheng et al., ICCV 2017)."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from reidlab.data.datasets._common import Expected, assemble, compare, find_root, list_images, parsed_rows

__all__ = ["EXPECTED", "read_dukemtmc"]

NAME = re.compile(r"(?P<pid>\d{4})_c(?P<camid>\d)_f(?P<frame>\d{7})\.\w+")
FORM = "PPPP_cC_fFFFFFFF.jpg"
EXPECTED = {
    "bounding_box_train": Expected(16_522, 702),
    "query": Expected(2_228, 702),
    "bounding_box_test": Expected(17_661, 1_110),  # 702 test identities and 408 that no query asks for
}
_SPLITS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
_NESTED = ("DukeMTMC-reID", "dukemtmc-reid", "DukeMTMC-reID/DukeMTMC-reID", "dukemtmc-reid/DukeMTMC-reID")


def read_dukemtmc(root: Path, *, partial: bool = False) -> pd.DataFrame:
    """Read DukeMTMC-reID; `root` is DukeMTMC-reID or the folder that holds it.

    The 408 gallery identities that no query asks for keep their numbers and are marked in `distractor`.
    The authors withdrew the data set in 2019; there is no official download.

    Args:
        root: folder of the data set.
        partial: accept a copy with other counts; `attrs["notes"]` says how many of how many.
    """
    folder = find_root("dukemtmc", root, tuple(_SPLITS), _NESTED)
    parts = {name: _rows(list_images(folder / name), split) for name, split in _SPLITS.items()}
    found = {name: Expected(len(part), part["pid"].nunique()) for name, part in parts.items()}
    notes = compare("dukemtmc", folder, EXPECTED, found, partial=partial)
    rows = pd.concat(list(parts.values()), ignore_index=True)
    rows["distractor"] = (rows["split"] == "gallery") & ~rows["pid"].isin(parts["query"]["pid"].unique())
    return assemble("dukemtmc", rows, notes)


def _rows(files: list[str], split: str) -> pd.DataFrame:
    return parsed_rows(files, NAME, FORM, ("pid", "camid", "frame")).assign(split=split)
