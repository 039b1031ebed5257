"""By which code a sweep's runs were made: what the whole package means, and whether its files are still the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import reidlab
from reidlab.documents import read_json
from reidlab.errors import UserError
from reidlab.store.syntax import read_module, stamp
from reidlab.sweeps.rows import keep, sweeps_root

__all__ = ["package_code", "package_files"]

LEFT_OUT = ("cli",)  # it starts notebooks, and no figure of one depends on it
SHORT = 16  # hex digits
_CACHE = "code.json"


def package_files() -> str:
    """Return the digest of the package's files as they are on the disk: modules, recipes and shipped models.

    Hashing them takes milliseconds, so that every worker can look before every run.
    """
    return _digest(Path.read_bytes)


def package_code() -> str:
    """Return the digest of what the package's files mean: comments, formatting and docstrings do not count.

    Parsing them takes a second or two; the answer is kept in `reports/sweeps` until a file changes.
    """
    files, cache = package_files(), sweeps_root() / _CACHE
    try:
        known = read_json(cache, _CACHE)
        if known["files"] == files:
            return str(known["code"])
    except (UserError, KeyError, TypeError):  # there is none yet, or it is of another version
        pass
    code = _digest(lambda file: read_module(*stamp(file))[0].encode() if file.suffix == ".py" else file.read_bytes())
    with suppress(UserError):  # without the note it is computed again
        keep(cache, json.dumps({"files": files, "code": code}) + "\n")
    return code


def _digest(content: Callable[[Path], bytes]) -> str:
    total, top = hashlib.sha256(), Path(reidlab.__file__).parent
    for file in sorted(_files(top)):
        total.update(f"{file.relative_to(top).as_posix()} {hashlib.sha256(content(file)).hexdigest()}\n".encode())
    return total.hexdigest()[:SHORT]


def _files(top: Path) -> Iterator[Path]:
    for pattern in ("*.py", "recipes/*.yaml", "models/shipped/*/*"):
        for file in top.rglob(pattern) if pattern == "*.py" else top.glob(pattern):
            parts = file.relative_to(top).parts
            hidden = any(part.startswith((".", "__pycache__")) for part in parts)  # JupyterLab's checkpoints
            if file.is_file() and not hidden and parts[0] not in LEFT_OUT:
                yield file
