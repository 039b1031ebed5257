"""Files of weights, good and bad, that the tests of models and the fuzz tests write."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch


def with_pickle(path: Path, pickled: bytes, compress: bool = False) -> Path:
    """Write an archive as torch.save does, with this pickle in it."""
    buffer = io.BytesIO()
    torch.save({}, buffer)
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", kind) as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
    return path


def saved(path: Path, content: Any, **options: Any) -> Path:
    """Write by torch.save."""
    torch.save(content, path, **options)
    return path


def doubled(times: int) -> bytes:
    """Pickle an empty tuple, doubled so many times: (), ((), ()), ..."""
    return b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(times))
