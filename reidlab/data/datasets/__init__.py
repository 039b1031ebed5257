"""Readers of data sets, one per file, and the registry that `reidlab.data.read` looks them up in."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from reidlab.data.datasets._own import own_pattern
from reidlab.errors import UserError
from reidlab.paths import data_root, find
from reidlab.registry import DATASETS, Entry

__all__ = ["DATASETS", "list_datasets", "own_pattern", "read"]


def list_datasets() -> pd.DataFrame:
    """List the data sets that `read` knows: description, folder, options, citation."""
    rows = {
        entry.name: {
            "description": entry.description,
            "folder": entry.facts.get("folder") or "(say where)",
            "options": ", ".join(f"{name}={value.default!r}" for name, value in DATASETS.options(entry.name).items()),
            "citation": entry.facts.get("citation", ""),
        }
        for entry in DATASETS.values()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def read(name: str, root: str | os.PathLike[str] | None = None, **options: object) -> pd.DataFrame:
    """Read a data set as an image table (`reidlab.data.schema`).

    Args:
        name: a registered name; `list_datasets()` lists them.
        root: its folder; None is the usual one below `reidlab.paths.data_root()`.
        options: the reader's own.

    Raises:
        UserError: unknown name or option, or the folder is not what the reader expects.
    """
    entry, checked = DATASETS.find(name), DATASETS.check(name, options)
    if root is None:
        folder = entry.facts.get("folder")
        if folder is None:
            raise UserError(f"The data set {name!r} is your own; give its folder: read({name!r}, root).")
        root = data_root() / folder
        if maker := entry.facts.get("maker"):
            root = Entry(name, maker, "").factory()
    # absolute, but links are not resolved: a linked data/raw keeps the names that the user knows
    table: pd.DataFrame = entry.factory(Path(os.path.abspath(find(root))), **checked)  # noqa: PTH100
    return table
