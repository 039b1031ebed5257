"""Find the images that a user names: files, folders and patterns; whatever is left out is listed with its reason."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from reidlab.data.images import IMAGE_SUFFIXES
from reidlab.errors import UserError, shown
from reidlab.paths import exists, expanded

__all__ = ["Found", "Named", "find_images"]

Named = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_SHOWN = 3


class Found(NamedTuple):
    """Files that may be images, and files that were left out.

    Attributes:
        files: absolute paths, each once, in the order of their names within what was given.
        skipped: path and reason of each file that was left out.
    """

    files: list[str]
    skipped: list[tuple[str, str]]


def find_images(given: Named, what: str = "images") -> Found:
    """Return the images among files, folders and patterns.

    A folder is searched with all folders in it, but for hidden ones (`.git`, `.ipynb_checkpoints`); of its files those
    count that are named as images. A file that is named itself, or fits a pattern, counts whatever its name.

    Args:
        given: a path or a pattern (`crops/*.jpg`, `crops/**/*.png`), or several.
        what: they are called in messages, such as "--gallery".

    Raises:
        UserError: something is not there, cannot be listed, or no image is among all of it.
    """
    several = [given] if isinstance(given, str | os.PathLike) else list(given)
    if not several:
        raise UserError(f"{what}: nothing is named. Give an image, a folder or a pattern such as 'crops/*.jpg'.")
    files: dict[str, None] = {}
    skipped: dict[str, str] = {}
    for each in several:
        if not isinstance(each, str | os.PathLike):
            raise UserError(f"{what}: {shown(each)} is no path. Give files, folders or patterns.")
        for path, reason in _found(os.fspath(each), what):
            if reason:
                skipped[path] = reason
            else:
                files[path] = None
    if not files:
        names = ", ".join(os.path.basename(path) for path in list(skipped)[:_SHOWN])  # noqa: PTH119
        there = f"; there are {len(skipped):,} other files ({names}{' ...' if len(skipped) > _SHOWN else ''})"
        raise UserError(
            f"{what}: {', '.join(map(str, several))} holds no image{there if skipped else ''}. "
            f"Images end with {', '.join(IMAGE_SUFFIXES)}; name a file itself if it ends otherwise."
        )
    return Found(list(files), [(path, reason) for path, reason in skipped.items() if path not in files])


def _found(text: str, what: str) -> Iterator[tuple[str, str]]:
    """Yield each file that a path or a pattern stands for, with why it is left out ("": it is not)."""
    path = str(expanded(text, what))
    if not text.strip():
        raise UserError(f"{what}: an empty name. Give an image, a folder or a pattern such as 'crops/*.jpg'.")
    if exists(path):
        yield from _in_folder(path) if os.path.isdir(path) else [(os.path.abspath(path), "")]  # noqa: PTH100, PTH112
        return
    try:
        fitting = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []  # noqa: PTH207
    except (OSError, ValueError):  # a null character, a name that is too long
        fitting = []
    if not fitting:
        kind = "nothing fits the pattern" if glob.has_magic(path) else "there is no file or folder"
        raise UserError(f"{what}: {kind} {text} (looked for from {Path.cwd()}).")
    for each in fitting:
        yield from _in_folder(each) if os.path.isdir(each) else [(os.path.abspath(each), "")]  # noqa: PTH100, PTH112


def _in_folder(folder: str) -> Iterator[tuple[str, str]]:
    closed: list[tuple[str, str]] = []

    def note(error: OSError) -> None:
        closed.append((str(error.filename), f"a folder that cannot be listed ({error.strerror})"))

    for home, folders, names in os.walk(os.path.abspath(folder), onerror=note):  # noqa: PTH100
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            suffix = os.path.splitext(name)[1]  # noqa: PTH122
            if name.startswith("."):
                continue
            named = suffix.lower() in IMAGE_SUFFIXES
            yield os.path.join(home, name), "" if named else f"not named as an image ({suffix or 'no ending'})"  # noqa: PTH118
    yield from closed
