"""A prepared data set, as later stages see it: they depend on its table, not on the code that read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from reidlab.data.schema import table_digest
from reidlab.store.runs import Run

__all__ = ["DataRun"]


@dataclass(frozen=True)
class DataRun:
    """A prepared data set.

    Attributes:
        run: the finished stage.
        table: image table with splits, its paths where the images are now.
        notes: what a reader of any result on it must know.
        roots: where the images lay when the stage was made, and where they lie now.
    """

    run: Run
    table: pd.DataFrame
    notes: tuple[str, ...]
    roots: tuple[str, str] = ("", "")

    @cached_property
    def digest(self) -> str:
        """Digest of the table's content: names, sizes, identities, cameras and splits, not of the folder."""
        return table_digest(self.table)
