"""VeRi-776: 776 vehicles, twenty cameras along a road (Liu et al., ICME 2016 and ECCV 2016)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from reidlab.data.datasets._common import Expected, assemble, compare, find_root, list_images, parsed_rows

__all__ = ["EXPECTED", "read_veri776"]

NAME = re.compile(r"(?P<pid>\d{4})_c(?P<camid>\d{3})_(?P<frame>\d{8})_(?P<box>\d+)\.\w+")
FORM = "VVVV_cCCC_TTTTTTTT_N.jpg"
EXPECTED = {
    "image_train": Expected(37_778, 576),
    "image_query": Expected(1_678, 200),
    "image_test": Expected(11_579, 200),
}
_SPLITS = {"image_train": "train", "image_query": "query", "image_test": "gallery"}
# <Item imageName="0002_c002_00030600_0.jpg" vehicleID="0002" cameraID="c002" colorID="1" typeID="4" />
_ITEM = re.compile(rb'imageName="([^"]+)"[^>]*?colorID="(\d+)"[^>]*?typeID="(\d+)"')


def read_veri776(root: Path, *, partial: bool = True) -> pd.DataFrame:
    """Read VeRi-776; copies that lack images are read as they are, and `attrs["notes"]` says what they lack.

    Where train_label.xml and test_label.xml stand beside the images, the columns `color` and `type` hold their
    numbers (-1 where they are silent).

    Args:
        root: the folder of image_train, or the one that holds VeRi/.
        partial: accept a copy with other counts. False refuses it.
    """
    folder = find_root("veri776", root, tuple(_SPLITS), ("VeRi", "VeRi-776", "veri"))
    parts = {name: _rows(list_images(folder / name), split) for name, split in _SPLITS.items()}
    found = {name: Expected(len(part), part["pid"].nunique()) for name, part in parts.items()}
    notes = compare("veri776", folder, EXPECTED, found, partial=partial)
    rows = pd.concat(list(parts.values()), ignore_index=True)
    labels = _vehicle_labels(folder)
    if labels:
        pairs = [labels.get(Path(path).name, (-1, -1)) for path in rows["path"]]
        rows["color"], rows["type"] = (np.array(column, dtype=np.int64) for column in zip(*pairs))
    return assemble("veri776", rows, notes)


def _rows(files: list[str], split: str) -> pd.DataFrame:
    return parsed_rows(files, NAME, FORM, ("pid", "camid", "frame")).assign(split=split)


def _vehicle_labels(folder: Path) -> dict[str, tuple[int, int]]:
    """Read colour and type by name. The files declare gb2312, which the standard XML parser refuses."""
    labels = {}
    for name in ("train_label.xml", "test_label.xml"):
        if (folder / name).is_file():
            for image, color, kind in _ITEM.findall((folder / name).read_bytes()):
                labels[image.decode("ascii", "replace")] = (int(color), int(kind))
    return labels
