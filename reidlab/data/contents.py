"""What image files hold, as digests: read once, and again only when a file has changed.

A digest is kept in data/cache/contents.sqlite beside what the system says of its file: size, time of change, inode. A
file that was overwritten with as many bytes has another time; a data set that was copied has other times and inodes, is
read once more, and has the digests that it had. The file may be deleted; where it cannot be written, files are read
each time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from reidlab.data._files import NotRegular, missing, open_regular
from reidlab.errors import UserError
from reidlab.paths import data_root
from reidlab.progress import bar

__all__ = ["RANGE", "content_digests", "is_damaged", "is_settled", "shared_folder", "state_of"]

RANGE = "value_range"  # the column of an image table that says which value becomes 255 (reidlab.data.scales)
# Files changed so lately are not remembered: a second change within the clock's tick (2 s on FAT) would not be seen.
_FRESH = 2 * 10**9
_BAR = 5000  # files to be read from which on a bar is shown
_DAMAGED = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_TABLE = "CREATE TABLE IF NOT EXISTS contents (path BLOB PRIMARY KEY, about TEXT, digest TEXT) WITHOUT ROWID"


def content_digests(paths: Sequence[str]) -> list[str]:
    """Return a digest of each file's bytes; of what cannot be read, why (the audit lists such files).

    Raises:
        UserError: a file is missing.
    """
    paths = [os.path.abspath(path) for path in paths]  # noqa: PTH100
    unique = list(dict.fromkeys(paths))
    about = {path: state_of(path) for path in unique}
    kept = _kept(unique)
    found = {path: kept[path][1] for path in unique if path in kept and kept[path][0] == about[path]}
    wanted = [path for path in unique if path not in found]
    if wanted:
        now = time.time_ns()
        read = dict(zip(wanted, _read_all(wanted)))
        _keep([(path, about[path], digest) for path, digest in read.items() if is_settled(path, about[path], now)])
        found |= read
    return [found[path] for path in paths]


def shared_folder(paths: Sequence[str]) -> str:
    """Return the deepest folder that holds all files, "" where there is none (no files, several drives)."""
    try:
        return os.path.commonpath({os.path.dirname(os.path.abspath(path)) for path in paths})  # noqa: PTH100, PTH120
    except ValueError:
        return ""


def state_of(path: str) -> str:
    """Return what the system says of a file; any change of its content changes one of these."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a Path for each of 60,000 files costs more than the stat)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"The image table names a file that cannot be read: {path} ({reason}).") from None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def is_settled(path: str, about: str, now: int) -> bool:
    """Return whether a digest may be kept: the file is as it was before it was read, and was not changed just now."""
    _, written, changed, _ = map(int, about.split())
    moment = written if os.name == "nt" else changed  # nobody can set the time of change; Windows has none
    with suppress(UserError):
        return moment < now - _FRESH and state_of(path) == about
    return False


def _read_all(paths: Sequence[str]) -> list[str]:
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:  # more than cores: disks like to be asked
        read = pool.map(_digest, paths, chunksize=64)
        return list(bar(read, total=len(paths), desc="reading files", unit="file", disable=len(paths) < _BAR))


def _digest(path: str) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except NotRegular as error:
        return f"unreadable: {error}"
    except (OSError, ValueError) as error:
        return f"unreadable: {getattr(error, 'strerror', None) or error}"


def _cache() -> Path:
    return data_root() / "cache" / "contents.sqlite"


def _kept(paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Read what is remembered of all files below the folder that these share."""
    if not paths or not _cache().is_file():
        return {}
    below = os.fsencode(shared_folder(paths).rstrip(os.sep) + os.sep)
    try:
        with closing(sqlite3.connect(_cache(), timeout=10)) as cache:
            rows = cache.execute(
                "SELECT path, about, digest FROM contents WHERE path >= ? AND path < ?", (below, below + b"\xff" * 4)
            ).fetchall()
        return {os.fsdecode(path): (str(about), str(digest)) for path, about, digest in rows}
    except (sqlite3.Error, TypeError, ValueError) as error:
        _discard(error)
        return {}


def _keep(rows: Sequence[tuple[str, str, str]]) -> None:
    if not rows:
        return
    try:
        _cache().parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(_cache(), timeout=10)) as cache, cache:
            cache.execute(_TABLE)
            cache.executemany(
                "REPLACE INTO contents VALUES (?, ?, ?)", [(os.fsencode(path), *rest) for path, *rest in rows]
            )
    except (OSError, sqlite3.Error) as error:
        if not _discard(error):
            logging.getLogger(__name__).warning("Digests of files are not kept in %s (%s).", _cache(), error)


def is_damaged(error: Exception) -> bool:
    """Return whether an error says that a cache of SQLite holds no such table as it should, or no database at all."""
    damaged = not isinstance(error, OSError) and getattr(error, "sqlite_errorcode", 1) & 0xFF in _DAMAGED
    return damaged and "no such table" not in str(error)  # which is not made yet


def _discard(error: Exception) -> bool:
    """Take a damaged cache away, for it is made again; one that is locked, unreadable or not made yet stays."""
    if not is_damaged(error):
        return False
    logging.getLogger(__name__).warning("%s is damaged (%s) and is made again.", _cache(), error)
    with suppress(OSError):
        _cache().unlink()
    return True
