"""The built-in data set: drawn pedestrians in the layout of Market-1501, with no fixed counts."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from reidlab.data.datasets._common import assemble, find_root, list_images
from reidlab.data.datasets.market1501 import market_rows
from reidlab.errors import UserError

__all__ = ["read_pedestrians"]

_SPLITS = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery", "gt_bbox": "multi_query"}


def read_pedestrians(root: Path) -> pd.DataFrame:
    """Read a folder that `reidlab.pedestrians.make_pedestrians` drew; this only reads, it draws nothing.

    Where masks/ stands beside the images, the column `mask` holds the path of each mask ("" for none); where
    images.csv does, its columns `view` and `occluder` come along.
    """
    if not root.exists():
        raise UserError(
            f"pedestrians: there is no folder {root}. Notebook 01 draws it, or do it yourself: "
            f"reidlab.pedestrians.make_pedestrians({str(root)!r}, PedestriansSpec(seed=0))."
        )
    folder = find_root("pedestrians", root, ("bounding_box_train", "query", "bounding_box_test"))
    names = [name for name in _SPLITS if (folder / name).is_dir()]
    parts = [market_rows(list_images(folder / name), _SPLITS[name]) for name in names]
    rows = pd.concat(parts, ignore_index=True)
    if (folder / "masks").is_dir():
        masks = [_mask(folder, Path(path)) for path in rows["path"]]
        rows["mask"] = [mask if os.path.isfile(mask) else "" for mask in masks]  # noqa: PTH113
    if (folder / "images.csv").is_file():
        drawn = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False).set_index("path")
        names = [f"{Path(path).parent.name}/{Path(path).name}" for path in rows["path"]]
        for column in [name for name in ("view", "occluder") if name in drawn]:
            rows[column] = drawn[column].reindex(names, fill_value="").to_numpy()
    return assemble("pedestrians", rows)


def _mask(folder: Path, image: Path) -> str:
    return str(folder / "masks" / image.parent.name / f"{image.stem}.png")
