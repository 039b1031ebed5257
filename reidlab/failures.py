"""What the machine refuses - a disk, memory, open files, an encoding - in one line with its remedy."""

from __future__ import annotations

import errno
import io
import os
import re
import sys

from reidlab.errors import UserError, printable

__all__ = [
    "TRACEBACK",
    "check_open_files",
    "exit_code",
    "explained",
    "open_files",
    "print_anything",
    "remedy_in",
    "wants_traceback",
]

TRACEBACK = "REIDLAB_TRACEBACK"  # set to anything but 0: errors keep their traceback
_PERMISSION = "Make it writable, or point REIDLAB_REPORTS or REIDLAB_DATA at a folder that is."
_REMEDIES = {
    errno.ENOSPC: "Free space with `reidlab runs gc` and `reidlab runs rm`, or delete the folder data/cache.",
    errno.EDQUOT: "Free space with `reidlab runs gc` and `reidlab runs rm`, or delete the folder data/cache.",
    errno.EROFS: _PERMISSION,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EMFILE: "Allow more open files, `ulimit -n 1024`, and run it again.",
    errno.ENFILE: "Close other programs: the whole machine has too many files open.",
    errno.ENAMETOOLONG: "Give a shorter name.",
    errno.ENOTDIR: "Part of the path is a file where a folder is needed: move it away, or give another path.",
    errno.EISDIR: "Give the path of a file.",
    errno.EEXIST: "Move it away, or give another path.",
    errno.ENOENT: "Give a path that exists.",
    errno.EIO: "The disk may be damaged: try another one.",
}
_FILES = 128  # a kernel, its five sockets and its threads have needed 70
_MEMORY = "Close other programs, raise the limit (`ulimit -v`), or use a smaller batch or smaller images."
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|os error 28\b")
_NO_MEMORY = re.compile("out of memory|can.?t allocate memory|start new thread|failed to map|alloc_cpu", re.IGNORECASE)


def wants_traceback() -> bool:
    """Return whether errors shall keep their traceback: REIDLAB_TRACEBACK=1."""
    return os.environ.get(TRACEBACK, "0") not in ("", "0")


def print_anything() -> None:
    """Print characters that the encoding of a terminal or a file lacks as escapes instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def exit_code(error: Exception) -> int:
    """Print an error that users can mend, and return the code to end with; raise any other again.

    With REIDLAB_TRACEBACK=1 every error is raised again.
    """
    said = str(error) if isinstance(error, UserError) else explained(error)
    if said is None or wants_traceback():
        raise error
    print(f"reidlab: {said}", file=sys.stderr)
    return 2 if isinstance(error, UserError) else 1


def explained(error: BaseException) -> str | None:
    """Return what the machine refused and the remedy, in one line; None for what is no fault of the machine."""
    said = " ".join(str(error).split())
    if isinstance(error, UnicodeError):
        return printable(f"{_unicode(error)} Set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale.")
    if isinstance(error, RecursionError):
        return "The input is nested too deeply to be read; flatten it."
    if isinstance(error, MemoryError) or (isinstance(error, (RuntimeError, ImportError)) and _NO_MEMORY.search(said)):
        return printable(f"There is not enough memory{f' ({said[:200]})' if said else ''}. {_MEMORY}")
    number = getattr(error, "errno", None)  # OSError, and ZeroMQ's own errors
    if number == errno.ENOMEM:
        return f"There is not enough memory. {_MEMORY}"
    if isinstance(error, OSError) or number in (errno.EMFILE, errno.ENFILE):
        reason = getattr(error, "strerror", None) or said or type(error).__name__
        names = [str(name) for name in (getattr(error, "filename", None), getattr(error, "filename2", None)) if name]
        subject = f"{' and '.join(names)}: " if names else ""
        remedy = _REMEDIES.get(number or 0, f"{TRACEBACK}=1 shows where it happened.")
        return printable(f"{subject}{reason}. {remedy}")
    return None


def remedy_in(message: str) -> str:
    """Return the remedy where a message, such as that of a notebook's cell, speaks of memory or disk; else nothing."""
    if _NO_SPACE.search(message):
        return _REMEDIES[errno.ENOSPC]
    return _MEMORY if _NO_MEMORY.search(message) or message.startswith("MemoryError") else ""


def open_files() -> int | None:
    """Return how many files this process may open, raised to `_FILES` where that is allowed; None: without limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= _FILES or (hard != unlimited and hard < _FILES):
        return None if soft == unlimited else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, hard))
    return _FILES


def check_open_files() -> None:
    """Refuse to start a notebook's kernel where too few files may be open: it would die, or never answer.

    Raises:
        UserError: naming the limit.
    """
    allowed = open_files()
    if allowed is not None and allowed < _FILES:
        raise UserError(
            f"Only {allowed} files may be open at once (`ulimit -n`), and a notebook needs {_FILES}. "
            "Allow more, `ulimit -n 1024`, and run it again."
        )


def _unicode(error: UnicodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[error.start : error.end]!r} cannot be written as {error.encoding}."
    if isinstance(error, UnicodeDecodeError):
        return f"The byte {error.object[error.start]:#04x} at position {error.start} is not {error.encoding}."
    return f"A text cannot be read or written ({error})."
