"""Free space, looked at before anything large is written: a full disk harms everybody who writes to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reidlab.errors import UserError

__all__ = ["RESERVE", "check_space", "free_bytes", "readable_bytes"]

RESERVE = 16 * 2**20  # bytes left to others: a disk filled to its last block fails every other program too


def free_bytes(folder: str | os.PathLike[str]) -> int:
    """Return the bytes that this user may still write to the disk of `folder`, which need not exist yet."""
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def check_space(folder: str | os.PathLike[str], needed_bytes: int, what: str) -> None:
    """Refuse to start writing what does not fit on the disk of `folder`.

    Args:
        folder: where it will be written; it need not exist yet.
        needed_bytes: what will be written, of which nothing is written yet; `RESERVE` is added.
        what: what is written, as the beginning of a sentence: "The pixel store of 12936 images at 256x128".

    Raises:
        UserError: fewer bytes are free; the message says what is needed, what is free and what frees space.
    """
    free = free_bytes(folder)
    if needed_bytes + RESERVE > free:
        raise UserError(
            f"{what} needs {readable_bytes(needed_bytes)} (and {readable_bytes(RESERVE)} are kept free), but "
            f"{readable_bytes(free)} are free on the disk of {folder}. Free space with `reidlab runs gc` and "
            "`reidlab runs rm`, delete the folder data/cache, or point REIDLAB_DATA or REIDLAB_REPORTS at another disk."
        )


def readable_bytes(number: int) -> str:
    """Return a number of bytes as people read it: "512 bytes", "31.0 MB", "1.2 TB" (powers of 1000)."""
    value, unit = float(number), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{number} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
