"""One folder per identity, by hard links: for looking at the images, or for tools that want folders."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pandas as pd

from reidlab.data.schema import check_table
from reidlab.errors import UserError
from reidlab.paths import expanded
from reidlab.space import check_space

__all__ = ["group_copies"]

_LONGEST = 200  # bytes of an identity in a folder's name; file systems take 255


def group_copies(table: pd.DataFrame, folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Make `folder`/split/pid/name for every image by hard links; source files are never moved, removed or renamed.

    Where the file system cannot link (another disk), files are copied. A linked file is the source itself: edit
    neither. Images of one name in one folder get a number behind it (a.jpg, a~2.jpg); so do identities whose names
    make the same folder, also on file systems that do not tell A from a.

    Returns:
        The table with the new paths.

    Raises:
        UserError: `folder` exists and is not empty, images are missing, or the disk has too little room or refuses to
            be written; nothing was written then.
    """
    target = Path(os.path.abspath(expanded(folder)))  # noqa: PTH100
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists and is not an empty folder; nothing was written. Give a new folder.")
    grouped = check_table(table)
    missing = [path for path in grouped["path"] if not os.path.isfile(path)]  # noqa: PTH113
    if missing:
        raise UserError(f"{len(missing):,} images are missing, the first is {missing[0]}; nothing was written.")
    try:
        grouped["path"] = _write(grouped, target)
    except (OSError, UserError) as error:
        shutil.rmtree(target, ignore_errors=True)  # links and copies: the sources stay
        if isinstance(error, UserError):
            raise
        raise UserError(f"{target} cannot be written ({error.strerror or error}); nothing was kept.") from error
    return grouped


def _write(grouped: pd.DataFrame, target: Path) -> list[str]:
    """Link or copy every image and return the new paths."""
    folders: dict[object, str] = {}
    names: set[str] = set()
    taken: set[str] = set()
    paths: list[str] = []
    copying = False
    for path, pid, split in zip(grouped["path"], grouped["pid"], grouped["split"]):
        if pid not in folders:
            folders[pid] = _free(_folder_name(pid), "", names)
        home = target / split / folders[pid]
        home.mkdir(parents=True, exist_ok=True)
        stem, suffix = os.path.splitext(os.path.basename(path))  # noqa: PTH119, PTH122
        place = _free(str(home / stem), suffix, taken)
        if not _linked(Path(path), Path(place)):
            if not copying:  # the first: so it will be with all that follow
                rest = sum(os.path.getsize(path) for path in grouped["path"][len(paths) :])  # noqa: PTH202
                check_space(target, rest, f"Copying {len(grouped) - len(paths):,} images")
            copying = True
            shutil.copy2(path, place)
        paths.append(place)
    return paths


def _free(stem: str, suffix: str, taken: set[str]) -> str:
    """Return a name that is not taken, also not in other letter case, and take it."""
    name, number = stem + suffix, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}~{number}{suffix}"
    taken.add(name.casefold())
    return name


def _linked(source: Path, place: Path) -> bool:
    """Link a file and say whether that went; it does not across disks."""
    try:
        place.hardlink_to(source.resolve())  # a link to a symbolic link would break when the folder moves
    except OSError:
        return False
    return True


def _folder_name(pid: object) -> str:
    """Make a folder name of an identity: text may hold what a file system does not allow."""
    letters = (letter if letter.isalnum() or letter in " -_.+@" else f"%{ord(letter):02X}" for letter in str(pid))
    name = "".join(letters)
    name = name if name.strip(". ") else name.replace(".", "%2E").replace(" ", "%20")
    if len(name.encode()) <= _LONGEST:
        return name
    return f"{name.encode()[:_LONGEST].decode(errors='ignore')}%{hashlib.sha256(name.encode()).hexdigest()[:8]}"
