"""Stage data: a data set read, prepared and audited."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab import store
from reidlab.data import audit as auditing
from reidlab.data import prepare
from reidlab.data.contents import shared_folder
from reidlab.data.datasets import read
from reidlab.data.schema import load_table, notes_of, save_table, summarise, table_digest
from reidlab.errors import UserError
from reidlab.pedestrians import built_in
from reidlab.stages.data_run import DataRun

__all__ = ["audit_of", "data_stage", "source_table"]

OWN_VAL = (
    "The data set comes with validation images of its own: `split` and `val_share` have no effect, and val_share 0 "
    "does not train on them."
)
ROOT = "root.txt"  # names the folder that all images shared when the stage was made


def audit_of(data: DataRun) -> auditing.Audit:
    """Return the findings of the audit that the stage made."""
    folder = data.run.path / "audit"
    return auditing.Audit.load(folder, _moved(load_table(folder / "table.parquet"), *data.roots))


def source_table(
    dataset: str, root: str = "", *, seed: int = 0, options: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Read a data set with its reader's options; the built-in one is drawn first where it is missing."""
    if dataset == "pedestrians" and not root:
        return read(dataset, built_in(seed), **(options or {}))
    return read(dataset, root or None, **(options or {}))


def data_stage(
    dataset: str = "pedestrians",
    root: str = "",
    *,
    seed: int = 0,
    split: str = "identity",
    val_share: float = 0.2,
    options: Mapping[str, Any] | None = None,
) -> DataRun:
    """Read a data set, look at every image, leave out what does not decode, and hold validation images out.

    Args:
        dataset: name known to `reidlab data list`.
        root: its folder; empty for the usual place.
        seed: of the split (and of the built-in data set).
        split: identity (default), image (flagged) or test_to_val (flagged).
        val_share: share of identities or images held out; with test_to_val of each test identity's images.
        options: of the data set's reader, such as {"boxes": "detected"} for cuhk03.
    """
    source = source_table(dataset, root, seed=seed, options=options)
    chosen = dict(options or {})
    params = {"dataset": dataset, "seed": seed, "split": split, "val_share": val_share, "options": chosen}

    def make(folder: Path) -> Mapping[str, Any]:
        # in this process: spawned workers would run a script without a main guard again, which would wait for our lock
        found = auditing.audit(source, workers=1)
        found.save(folder / "audit")
        save_table(found.table, folder / "audit" / "table.parquet")
        clean = found.usable_table
        table = _split(clean, split, val_share, seed)
        save_table(table, folder / "table.parquet")
        (folder / ROOT).write_bytes(
            os.fsencode(shared_folder(source["path"].tolist()))
        )  # bytes: as text, \r would become \n
        summarise(table).to_csv(folder / "summary.csv")
        undecodable, held = len(source) - len(clean), table_digest(table)
        own = split != "test_to_val" and bool((clean["split"] == "val").any())
        notes = notes_of(table) + [OWN_VAL] * own
        return {"images": len(table), "undecodable": undecodable, "notes": notes, "provides": [held]}

    inputs = [table_digest(source), _columns_digest(source)]
    run = store.stage("data", dataset, params=params, inputs=inputs, make=make)
    roots = (os.fsdecode((run.path / ROOT).read_bytes()), shared_folder(source["path"].tolist()))
    table = _moved(load_table(run.path / "table.parquet"), *roots)
    notes = tuple(dict.fromkeys([*notes_of(source), *run.result["notes"]]))
    return DataRun(run, table, notes, roots)


def _columns_digest(table: pd.DataFrame) -> str:
    """Digest everything but the places of files: frames, views and whatever else a table carries along."""
    rest = table.drop(columns=["path", "mask"], errors="ignore").astype(str)
    return hashlib.sha256(pd.util.hash_pandas_object(rest, index=False).to_numpy().tobytes()).hexdigest()[:16]


def _split(table: pd.DataFrame, split: str, val_share: float, seed: int) -> pd.DataFrame:
    if split == "test_to_val":
        return prepare.test_to_validation(table, share=val_share, seed=seed)
    if split not in ("identity", "image"):
        raise UserError(f"split={split!r} is unknown; choose identity, image or test_to_val.")
    if not (table["split"] == "train").any() or val_share == 0:
        return table
    if (table["split"] == "val").any():
        return table  # `OWN_VAL` says so
    cut = prepare.split_by_identity if split == "identity" else prepare.split_by_image
    return cut(table, val_share=val_share, seed=seed)


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
