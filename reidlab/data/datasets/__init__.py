"""Readers of data sets, one a file, and the registry that `reidlab.data.read` looks them up in."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reidlab.errors import UserError, nearest

__all__ = ["DATASETS", "DatasetEntry", "list_datasets", "read"]


@dataclass(frozen=True)
class DatasetEntry:
    """A data set that can be read: what it is, where it is looked for and by which function it is read."""

    name: str
    function: str  # "module:function", imported when asked for
    description: str
    folder: str | None  # below data_root(); None: the caller has to say where
    citation: str = ""

    def load(self) -> Callable[..., pd.DataFrame]:
        """Import the reader."""
        module, function = self.function.split(":")
        reader: Callable[..., pd.DataFrame] = getattr(importlib.import_module(module), function)
        return reader

    @property
    def options(self) -> dict[str, object]:
        """Give the options of the reader with their defaults."""
        parameters = inspect.signature(self.load()).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _entry(name: str, module: str, description: str, folder: str | None, citation: str = "") -> DatasetEntry:
    return DatasetEntry(name, f"reidlab.data.datasets.{module}:read_{name}", description, folder, citation)


_ENTRIES = (
    _entry(
        "market1501",
        "market1501",
        "1,501 people, 6 cameras, 32,668 boxes with 500 more distractors and junk",
        "raw/market1501",
        "Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015",
    ),
)
DATASETS: dict[str, DatasetEntry] = {entry.name: entry for entry in _ENTRIES}


def list_datasets() -> pd.DataFrame:
    """List the data sets that `read` knows: description, folder, options, citation."""
    rows = {
        entry.name: {
            "description": entry.description,
            "folder": entry.folder or "(say where)",
            "options": ", ".join(f"{name}={value!r}" for name, value in entry.options.items()),
            "citation": entry.citation,
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
    if name not in DATASETS:
        raise UserError(
            f"There is no data set {name!r}.{nearest(name, DATASETS)} Known: {', '.join(DATASETS)}."
        )
    entry = DATASETS[name]
    _check_options(entry, options)
    if root is None:
        if entry.folder is None:
            raise UserError(f"The data set {name!r} is your own: say where it is, read({name!r}, root).")
        from reidlab.paths import data_root

        root = data_root() / entry.folder
    # absolute, but links are not resolved: a linked data/raw keeps the names that the user knows
    return entry.load()(Path(os.path.abspath(Path(root).expanduser())), **options)  # noqa: PTH100


def _check_options(entry: DatasetEntry, options: dict[str, object]) -> None:
    known = entry.options
    for option, value in options.items():
        if option not in known:
            raise UserError(
                f"The data set {entry.name!r} has no option {option!r}.{nearest(option, known)} "
                f"It has: {', '.join(known) or 'none'}."
            )
        default = known[option]
        if default is not None and type(value) is not type(default):
            raise UserError(
                f"{entry.name}: {option}={value!r} should be {type(default).__name__}, "
                f"as its default {default!r}."
            )
