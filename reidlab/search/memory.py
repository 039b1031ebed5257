"""Vectors that were computed, remembered in one SQLite file per model: written after each batch, whole at any moment.

Beside a vector stands what the system said of its file (size, times, inode) and a digest of its bytes. A file that was
replaced or edited has another state and is embedded again. The memory may be deleted; where it cannot be written,
vectors are computed each time, and a warning says so.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reidlab.data.contents import is_damaged, shared_folder
from reidlab.paths import data_root

__all__ = ["Memory", "Remembered"]

_TABLE = (
    "CREATE TABLE IF NOT EXISTS vectors "
    "(path BLOB PRIMARY KEY, state TEXT, digest TEXT, problem TEXT, vector BLOB) WITHOUT ROWID"
)
_MOST = 900  # paths in one question; SQLite's own limit was 999 for long


class Remembered(NamedTuple):
    """What is kept of one file: why it is no image ("": it is one), or its vector as float32 bytes."""

    path: str
    state: str
    digest: str
    problem: str
    vector: bytes


class Memory:
    """The vectors of one model.

    Args:
        digest: of whatever decides the vectors: weights, pre-processing, precision.
        folder: where the file lies; None is data/cache/embeddings.
    """

    def __init__(self, digest: str, folder: Path | None = None) -> None:
        self.file = (folder or data_root() / "cache" / "embeddings") / f"{digest}.sqlite"
        self.works = True

    def known(self, paths: Sequence[str]) -> Iterator[Remembered]:
        """Yield what is kept of these files, in any order."""
        if not paths or not self.file.is_file():
            return
        try:
            with closing(sqlite3.connect(self.file, timeout=30)) as database:
                for row in self._rows(database, paths):
                    yield Remembered(os.fsdecode(row[0]), str(row[1]), str(row[2]), str(row[3]), bytes(row[4]))
        except (sqlite3.Error, TypeError, ValueError) as error:
            self._failed(error)

    def _rows(self, database: sqlite3.Connection, paths: Sequence[str]) -> Iterator[tuple[bytes, str, str, str, bytes]]:
        """Ask for few files by name, and for many by the folder that all of them share."""
        wanted = [os.fsencode(path) for path in paths]
        what = "SELECT path, state, digest, problem, vector FROM vectors WHERE path"
        below = os.fsencode(shared_folder(paths).rstrip(os.sep) + os.sep)
        if len(wanted) <= _MOST:
            yield from database.execute(f"{what} IN ({','.join('?' * len(wanted))})", wanted)
            return
        among = set(wanted)
        for row in database.execute(f"{what} >= ? AND path < ?", (below, below + b"\xff" * 4)):
            if row[0] in among:
                yield row

    def keep(self, rows: Sequence[Remembered]) -> None:
        """Write what was found of some files; all of it, or nothing."""
        if not rows or not self.works:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
                database.execute(_TABLE)
                database.executemany(
                    "REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)", [(os.fsencode(row.path), *row[1:]) for row in rows]
                )
        except (OSError, sqlite3.Error) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Take a damaged file away, for it is made again; one that is locked or cannot be written stays."""
        log = logging.getLogger(__name__)
        if is_damaged(error):
            log.warning("%s is damaged (%s) and is made again.", self.file, error)
            with suppress(OSError):
                self.file.unlink()
            return
        if "no such table" not in str(error):
            self.works = False
            log.warning("Vectors are not kept in %s (%s): the next search computes them again.", self.file, error)


def as_vector(kept: bytes) -> np.ndarray:
    """Return the vector that these bytes hold, float32 [dim]."""
    return np.frombuffer(kept, np.dtype("<f4"))
