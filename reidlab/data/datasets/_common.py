"""What the readers share: finding the folder, listing images, comparing counts, building the table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reidlab.data.images import IMAGE_SUFFIXES
from reidlab.data.schema import check_table
from reidlab.errors import UserError

__all__ = [
    "Expected",
    "assemble",
    "compare",
    "find_root",
    "image_folders",
    "list_images",
    "parse_names",
    "parsed_rows",
]

_SHOWN = 5


@dataclass(frozen=True)
class Expected:
    """What a complete copy holds below one folder or list; `identities` None is not checked."""

    images: int
    identities: int | None = None

    def __str__(self) -> str:
        people = "" if self.identities is None else f", {self.identities:,} identities"
        return f"{self.images:,} images{people}"


def find_root(name: str, root: Path, markers: Sequence[str], nested: Sequence[str] = ()) -> Path:
    """Return the folder that holds all `markers`: `root` itself, or one of its children `nested`.

    Raises:
        UserError: neither holds them; the message shows what stands there beside what was looked for.
    """
    if not root.exists():
        raise UserError(
            f"{name}: there is no folder {root}. data/README.md says how to get the data and where to put it."
        )
    if not root.is_dir():
        holds = f" that holds {', '.join(markers)}" if markers else ""
        raise UserError(f"{name}: {root} is a file; give the folder{holds}.")
    candidates = [root, *(root / child for child in nested)]
    for folder in candidates:
        if all((folder / marker).exists() for marker in markers):
            return folder
    lines = [f"  {marker:<28}{'found' if (root / marker).exists() else 'MISSING'}" for marker in markers]
    found = "\n".join(f"  {line}" for line in _children(root))
    also = f" (or in {', '.join(nested)} below it)" if nested else ""
    raise UserError(
        f"{name}: {root} does not look like the data set. Expected in it{also}:\n"
        + "\n".join(lines)
        + f"\nFound in it:\n{found}"
    )


def _children(folder: Path, limit: int = 12) -> list[str]:
    """List what is in a folder, one line per entry: folders with their number of files first."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (not _is_dir(entry), entry.name))
    except OSError as error:
        return [f"(cannot be listed: {error.strerror})"]
    lines = []
    for entry in entries[:limit]:
        if _is_dir(entry):
            try:
                count = f"{len(os.listdir(entry.path)):,} entries"  # noqa: PTH208
            except OSError as error:
                count = f"cannot be listed: {error.strerror}"
            lines.append(f"{entry.name + '/':<28}{count}")
        else:
            lines.append(entry.name)
    if len(entries) > limit:
        lines.append(f"... and {len(entries) - limit:,} more")
    return lines or ["(nothing)"]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points at itself
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise UserError(f"There is no folder {folder}.") from None
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be listed ({error.strerror}).") from None
    for entry in entries:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise UserError(f"{folder} holds a file whose name is not UTF-8: {entry.name!r}. Rename it.") from None
    return entries


def list_images(folder: Path, *, allow_empty: bool = False) -> list[str]:
    """List the image files directly in a folder, sorted by name; hidden and other files are passed over.

    Raises:
        UserError: the folder cannot be listed, holds a broken link, or holds no image.
    """
    found = []
    for entry in _entries(folder):
        if entry.name.startswith(".") or not entry.name.lower().endswith(IMAGE_SUFFIXES):
            continue
        try:
            regular = entry.is_file()
        except OSError as error:
            raise UserError(f"{entry.path} cannot be read ({error.strerror}).") from None
        if regular:
            found.append(os.path.abspath(entry.path))  # noqa: PTH100
        elif entry.is_symlink() and not _is_dir(entry):
            raise UserError(f"{entry.path} is a broken link. Repair or remove it.")
    if not found and not allow_empty:
        inside = "; ".join(_children(folder, 4))
        raise UserError(f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)}). It holds: {inside}.")
    return found


def image_folders(folder: Path) -> list[Path]:
    """List the folders directly in a folder, hidden ones left out, links that lead back up refused."""
    above = {os.path.realpath(folder), *(os.path.realpath(parent) for parent in folder.absolute().parents)}
    folders = []
    for entry in _entries(folder):
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if entry.is_symlink():
            if not os.path.exists(entry.path):  # noqa: PTH110
                raise UserError(f"{entry.path} is a link to nothing or to itself. Repair or remove it.")
            if os.path.realpath(entry.path) in above:
                raise UserError(f"{entry.path} is a link to a folder that holds it. Remove it.")
        if _is_dir(entry):
            folders.append(Path(entry.path))
    return folders


def parse_names(files: Iterable[str], pattern: re.Pattern[str], form: str) -> list[re.Match[str]]:
    """Match the name of every file; `form` is how a name should look, for the message.

    Raises:
        UserError: some do not match; the first five are named.
    """
    matches, bad = [], []
    for file in files:
        match = pattern.fullmatch(os.path.basename(file))  # noqa: PTH119
        if match:
            matches.append(match)
        else:
            bad.append(file)
    if bad:
        names = ", ".join(Path(file).name for file in bad[:_SHOWN])
        more = f" and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
        raise UserError(f"{len(bad):,} image names in {Path(bad[0]).parent} are not of the form {form}: {names}{more}.")
    return matches


def parsed_rows(files: Sequence[str], pattern: re.Pattern[str], form: str, columns: Iterable[str]) -> pd.DataFrame:
    """Return one row per file: its path, and the named groups of its name as int64."""
    matches = parse_names(files, pattern, form)
    numbers = {column: np.array([int(match[column]) for match in matches], dtype=np.int64) for column in columns}
    return pd.DataFrame({"path": files, **numbers})


def compare(
    name: str, root: Path, expected: Mapping[str, Expected], found: Mapping[str, Expected], *, partial: bool
) -> list[str]:
    """Compare what was found with what a complete copy holds, and return notes for the table.

    Raises:
        UserError: they differ and `partial` is false; expected and found stand side by side in the message.
    """
    rows = []
    wrong = []
    for part, want in expected.items():
        have = found.get(part, Expected(0, 0))
        same = have.images == want.images and want.identities in (None, have.identities)
        have = have if want.identities is not None else Expected(have.images)
        rows.append(f"  {part:<26}{want!s:<34}{have!s}{'' if same else '   <- differs'}")
        if not same:
            wrong.append(f"{part} {have.images:,} of {want.images:,} images")
            if want.identities is not None and have.identities != want.identities:
                wrong[-1] += f" and {have.identities:,} of {want.identities:,} identities"
    if not wrong:
        return []
    if partial:
        return [f"Partial copy of {name}: {'; '.join(wrong)}. Results cannot be compared with published ones."]
    raise UserError(
        f"{name}: the copy at {root} is not complete.\n  {'':<26}{'expected':<34}found\n"
        + "\n".join(rows)
        + "\nGet it again (data/README.md), or read it as it is with partial=True."
    )


def assemble(dataset: str, rows: pd.DataFrame, notes: Sequence[str] = ()) -> pd.DataFrame:
    """Build a checked image table from rows, with the name of its data set and its notes."""
    table = check_table(rows.assign(dataset=dataset))
    if notes:
        table.attrs["notes"] = list(notes)
    return table
