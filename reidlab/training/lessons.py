"""What teachers say of a training's images, kept in data/cache/lessons: a second training asks the teacher nothing.

A file is named by the digest of all that its numbers depend on: the teacher, the bytes of the images and their scale,
what is asked, the precision, and the code. One that is damaged is made anew, and a warning says so.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reidlab.data.contents import content_digests
from reidlab.data.scales import ranges_of
from reidlab.errors import UserError
from reidlab.models.weights.writing import check_room, save_weights
from reidlab.paths import data_root
from reidlab.store.sources import code_digest
from reidlab.training.teachers import Teacher

__all__ = ["KINDS", "kept_lessons", "lesson_file", "remember"]

KINDS = ("features", "logits")
_SAID = "said"
_CODE = ("reidlab.training.teachers",)  # with all that it imports, and what the teacher's spec names


def lesson_file(teacher: Teacher, kind: str, table: pd.DataFrame, rows: np.ndarray, precision: str) -> Path:
    """Return the file of a teacher's lessons on `rows` of a table.

    Args:
        teacher: whoever is asked.
        kind: features (of image and mirror, normalised) or logits.
        table: image table.
        rows: rows of it, in the order of the lessons.
        precision: in which they are computed.
    """
    used = table.iloc[rows]
    ranges = ranges_of(used)
    images = [content_digests(used["path"].tolist()), None if ranges is None else ranges.tolist()]
    about = [kind, "flip", teacher.digest, images, precision, code_digest(_CODE, teacher.built_of)]
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
    return data_root() / "cache" / "lessons" / f"{kind}-{digest[:24]}.safetensors"


def kept_lessons(path: Path, n_rows: int) -> Tensor | None:
    """Return lessons float32 [row, dim] kept in a file; None where there is none, or a damaged one (a warning)."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            said: Tensor = file.get_tensor(_SAID).clone()  # the file may change below a mapped one
        problem = _problem(said, about, path, n_rows)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        problem = f"it cannot be read ({error})"
    if problem:
        logging.getLogger(__name__).warning("The lessons in %s are made anew: %s.", path, problem)
        with suppress(OSError):
            path.unlink()
        return None
    return said


def _problem(said: Tensor, about: dict[str, str], path: Path, n_rows: int) -> str:
    if said.ndim != 2 or len(said) != n_rows or said.dtype != torch.float32:
        return f"they are {said.dtype} {list(said.shape)} and not float32 [{n_rows}, dim]"
    if about.get("name") != path.name or about.get("sha256") != _sum(said):
        return "their checksum is another"
    return ""


def remember(path: Path, n_rows: int, ask: Callable[[], Tensor]) -> Tensor:
    """Return what a file keeps, or ask and keep it; two processes that want the same ask once.

    Where nothing can be written, a warning says so, and the lessons are in memory alone.
    """
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(f"{path}.lock"))
        except OSError as error:
            _not_kept(path, error)
            return ask()
        found = kept_lessons(path, n_rows)
        if found is None:
            found = ask()  # its errors, a missing image say, are not those of keeping
            _keep(path, found)
        return found


def _keep(path: Path, said: Tensor) -> None:
    try:
        check_room(path.parent, "What the teacher says of the images", said)
        save_weights({_SAID: said}, path, {"name": path.name, "sha256": _sum(said)})
    except (OSError, SafetensorError, UserError) as error:
        _not_kept(path, error)


def _not_kept(path: Path, error: Exception) -> None:
    logging.getLogger(__name__).warning("What the teacher says is not kept in %s: %s", path, error)


def _sum(said: Tensor) -> str:
    return hashlib.sha256(said.contiguous().numpy().tobytes()).hexdigest()
