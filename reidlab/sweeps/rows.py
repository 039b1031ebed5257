"""What is kept of the runs of sweeps: `reports/sweeps/<name>-<digest>/` with a small file for each finished run.

A file is written beside, flushed to the disk and renamed, so that none is ever seen half: killed at any moment, a sweep
has the rows of all runs that had ended.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reidlab.documents import read_json
from reidlab.errors import UserError
from reidlab.failures import explained
from reidlab.paths import reports_root

__all__ = ["FINISHED", "Row", "finished_rows", "keep", "keep_row", "read_row", "row_file", "set_aside", "sweeps_root"]

FINISHED = ("done", "stopped")
_NAME = 16  # digits of a digest in a file's name
_LONGEST = 2**24  # bytes of a row, a result with long texts included


@dataclass(frozen=True)
class Row:
    """How one run ended.

    Attributes:
        digest: of the run (`planning.Planned.digest`).
        status: done, stopped, failed, timeout, memory; `interrupted` is never kept.
        seconds: it took.
        memory_mb: the most that its processes held at once, as far as seen.
        result: what the notebook's `Result` holds, in its order.
        error: the kind of failure; "" where there is none.
        message: what it said.
        cell: the source of the cell that failed.
        executed: the executed notebook, in the folder `notebooks` of the sweep; "" where there is none.
        began: UTC, ISO format.
        commit: of git, with "+" where files differed from it; "" outside git.
        code: digest of what the package's code meant (`package.package_code`).
    """

    digest: str
    status: str
    seconds: float = 0.0
    memory_mb: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    message: str = ""
    cell: str = ""
    executed: str = ""
    began: str = ""
    commit: str = ""
    code: str = ""

    @property
    def ok(self) -> bool:
        """Whether the run came to its end."""
        return self.status in FINISHED


def sweeps_root() -> Path:
    """Return the folder of all sweeps."""
    return reports_root() / "sweeps"


def row_file(folder: Path, digest: str) -> Path:
    """Return the file of a run's row in the folder of a sweep."""
    return folder / "rows" / f"{digest[:_NAME]}.json"


def read_row(file: Path) -> Row | None:
    """Read a row; None where there is none that can be used."""
    if not file.is_file():
        return None
    try:
        row = Row(**read_json(file, file.name, limit=_LONGEST))
    except (UserError, TypeError):  # of another version, or no row at all
        return None
    return row if row.digest[:_NAME] == file.stem else None


def finished_rows(digests: Iterable[str], code: str = "", own: Path | None = None) -> dict[str, tuple[Row, Path]]:
    """Find runs that came to their end, in any sweep: the row, and the folder of that sweep.

    Of several rows of a run that of the folder `own` comes first, then the newest.

    Args:
        digests: of the runs.
        code: only those that were made by this code; "": by any.
        own: the folder of a sweep.
    """
    wanted = {digest[:_NAME]: digest for digest in digests}
    found: dict[str, tuple[Row, Path]] = {}
    for file in sorted(sweeps_root().glob("*/rows/*.json")):
        digest, home = wanted.get(file.stem), file.parents[1]
        row = read_row(file) if digest else None
        if digest is None or row is None or not row.ok or row.digest != digest or (code and row.code != code):
            continue
        before = found.get(digest)
        if before is None or (home == own, row.began) > (before[1] == own, before[0].began):
            found[digest] = row, home
    return found


def set_aside(folder: Path, digest: str) -> None:
    """Move the row of a run to `rows/outdated`, where no table sees it, until the run is done anew.

    Raises:
        UserError: it cannot be moved.
    """
    file = row_file(folder, digest)
    aside = file.parent / "outdated" / file.name
    try:
        aside.parent.mkdir(exist_ok=True)
        file.replace(aside)
    except OSError as error:
        raise UserError(f"{file} cannot be moved to {aside.parent.name}/: {explained(error)}") from error


def keep_row(folder: Path, row: Row) -> None:
    """Keep a row in the folder of a sweep.

    Raises:
        UserError: it cannot be written.
    """
    keep(row_file(folder, row.digest), json.dumps(asdict(row), indent=1, ensure_ascii=False) + "\n")


def keep(path: Path, text: str) -> None:
    """Write a text file whole or not at all, and flush it to the disk: a machine that loses power has it, or none.

    Raises:
        UserError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {explained(error)}") from error
