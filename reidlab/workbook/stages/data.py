"""Stage data: a data set read, prepared and audited."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab import sources, store
from reidlab.data import audit as auditing
from reidlab.data import prepare
from reidlab.data.datasets import read
from reidlab.data.pedestrians import PedestriansSpec, make_pedestrians
from reidlab.data.schema import load_table, notes_of, save_table, summarise, table_digest
from reidlab.errors import UserError
from reidlab.paths import data_root
from reidlab.runs import Run

__all__ = ["DataRun", "data_stage", "source_table"]

ROOT = "root.txt"  # names the folder that all images shared when the stage was made


@dataclass(frozen=True)
class DataRun:
    """A prepared data set.

    Attributes:
        run: the finished stage.
        table: image table with splits, its paths where the images are now.
        notes: what a reader of any result on it must know.
    """

    run: Run
    table: pd.DataFrame
    notes: tuple[str, ...]
    roots: tuple[str, str] = ("", "")  # where the images lay when the stage was made, and where they lie now

    def audit(self) -> auditing.Audit | None:
        """Give the findings of the audit, or None where it was not asked for."""
        folder = self.run.path / "audit"
        if not folder.is_dir():
            return None
        return auditing.Audit.load(folder, _moved(load_table(folder / "table.parquet"), *self.roots))

    @cached_property
    def digest(self) -> str:
        """Digest of the table's content: names, sizes, identities, cameras and splits, not of the folder."""
        return table_digest(self.table)


def source_table(dataset: str, root: str = "", *, seed: int = 0, workers: int | None = None) -> pd.DataFrame:
    """Read a data set; the built-in one is drawn first where it is missing."""
    if dataset == "pedestrians" and not root:
        code = sources.code_digest(["reidlab.data.pedestrians"])[:8]  # changed drawing, changed pictures
        folder = data_root() / "cache" / f"pedestrians-{seed}-{code}"
        return read("pedestrians", make_pedestrians(folder, PedestriansSpec(seed=seed), workers=workers))
    return read(dataset, root or None)


def data_stage(
    dataset: str = "pedestrians",
    root: str = "",
    *,
    seed: int = 0,
    split: str = "identity",
    val_share: float = 0.2,
    audit: bool = False,
) -> DataRun:
    """Read a data set, hold validation identities out, and (on request) look at every image.

    Args:
        dataset: name known to `reidlab data list`.
        root: its folder; empty for the usual place.
        seed: of the split (and of the built-in data set).
        split: identity (default), image (flagged) or test_to_val (flagged).
        val_share: share of identities or images held out.
        audit: open every image: files that do not decode are left out, duplicates and odd images listed.
    """
    source = source_table(dataset, root, seed=seed)
    params = {"dataset": dataset, "seed": seed, "split": split, "val_share": val_share, "audit": audit}

    def make(folder: Path) -> Mapping[str, Any]:
        table = source
        result: dict[str, Any] = {}
        if audit:
            found = auditing.audit(source)
            found.save(folder / "audit")
            save_table(found.table, folder / "audit" / "table.parquet")
            table = found.clean_table
            result["undecodable"] = len(source) - len(table)
        table = _split(table, split, val_share, seed)
        save_table(table, folder / "table.parquet")
        (folder / ROOT).write_text(_shared_folder(source), encoding="utf-8")
        summary = summarise(table)
        summary.to_csv(folder / "summary.csv")
        return {**result, "images": len(table), "notes": notes_of(table)}

    run = store.stage("data", dataset, params=params, inputs=[table_digest(source)], make=make)
    roots = ((run.path / ROOT).read_text(encoding="utf-8"), _shared_folder(source))
    table = _moved(load_table(run.path / "table.parquet"), *roots)
    notes = tuple(dict.fromkeys([*notes_of(source), *run.result["notes"]]))
    return DataRun(run, table, notes, roots)


def _split(table: pd.DataFrame, split: str, val_share: float, seed: int) -> pd.DataFrame:
    if split == "test_to_val":
        return prepare.test_to_validation(table, share=val_share, seed=seed)
    if split not in ("identity", "image"):
        raise UserError(f"split={split!r} is unknown; choose identity, image or test_to_val.")
    if not (table["split"] == "train").any() or val_share == 0:
        return table
    if (table["split"] == "val").any():
        return table  # the data set comes with a validation split of its own
    cut = prepare.split_by_identity if split == "identity" else prepare.split_by_image
    return cut(table, val_share=val_share, seed=seed)


def _shared_folder(table: pd.DataFrame) -> str:
    """Give the deepest folder that holds all images, or an empty text where there are none."""
    folders = {str(Path(path).parent) for path in table["path"]}
    return os.path.commonpath(folders) if folders else ""


def _moved(table: pd.DataFrame, old: str, new: str) -> pd.DataFrame:
    """Put the paths below the folder where the data set lies now: the stage may have been made somewhere else.

    The stage's digest holds every name below that folder, so what was found under the old one is under the new one.
    """
    if old != new:
        for column in ("path", "mask"):
            if column in table:
                table[column] = [_rerooted(path, old, new) for path in table[column]]
    return table


def _rerooted(path: Any, old: str, new: str) -> Any:
    inside = isinstance(path, str) and path.startswith(old.rstrip(os.sep) + os.sep)
    return os.path.join(new, os.path.relpath(path, old)) if inside else path  # noqa: PTH118 (text, not a Path)
