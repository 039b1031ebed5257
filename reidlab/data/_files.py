"""Opening the files that a table names, without ever waiting for a pipe or a device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

from reidlab.errors import UserError

__all__ = ["NotRegular", "missing", "open_regular"]


class NotRegular(OSError):
    """A pipe, a device or a folder where a file should be."""


def missing(path: str | os.PathLike[str]) -> UserError:
    """Return the error about an image file that is not there."""
    return UserError(f"{path} does not exist. Was the data set moved? Read it again (notebook 01).")


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Open a regular file for reading bytes.

    Raises:
        NotRegular: it is something else. Opening a pipe would wait for somebody to write into it.
        OSError, ValueError: there is no such file, or it cannot be opened.
    """
    with open(path, "rb", opener=_without_waiting) as file:  # Path.open takes no opener
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotRegular("it is no regular file")
        yield file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
