"""The folder of an index: manifest.json and the files that it names; replacing the manifest replaces the index.

    manifest.json              kind, options, metric, model, fingerprint, and names, sizes and digests of the others
    vectors-<token>.npy        float32 [row, dim], scaled, removed ones included where the kind needs them
    ids-<token>.jsonl          a name a line; null for a removed row
    structure-<token>.npz      what the kind built (none for flat)

Every save writes files of new names, and the manifest last, by renaming. A folder that is new is written beside its
place and renamed. Whatever happens in between, an old index stays whole; what was left behind goes with a later save.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.paths import exists, expanded
from reidlab.retrieval.index.rows import Rows
from reidlab.space import check_space

__all__ = ["FILE", "MANIFEST", "SCHEMA", "digest_of", "fingerprint_of", "header", "manifest_digest", "write"]

MANIFEST = "manifest.json"
SCHEMA = 1
LEFT = 3600.0  # seconds after which a file that no manifest names was left behind, and is not being written

FILE = re.compile(r"(?:vectors-[0-9a-f]{12}\.npy|ids-[0-9a-f]{12}\.jsonl|structure-[0-9a-f]{12}\.npz)")
_OURS = re.compile(rf"manifest(?:-[0-9a-f]{{12}})?\.json|{FILE.pattern}|\..*")

Keep = npt.NDArray[np.bool_] | None


def fingerprint_of(model: str, metric: str, rows: Rows, names: Sequence[str | None]) -> str:
    """Return the digest of what an index holds: model, metric, names and vectors; removed rows (None) do not count."""
    digest = hashlib.sha256(json.dumps([model, metric, rows.dim]).encode())
    kept = np.array([name is not None for name in names], dtype=bool)
    for start, block in rows.blocks():
        part = kept[start : start + len(block)]
        digest.update(np.ascontiguousarray(block if part.all() else block[part], "<f4").data)
    for name in names:
        if name is not None:
            digest.update(_line(name))
    return digest.hexdigest()


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Return the digest of a manifest, its own digest left out."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def digest_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def header(n_rows: int, dim: int) -> bytes:
    """Return how the file of so many vectors begins, in NumPy's format."""
    buffer = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, dim)}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


def write(
    place: Path,
    about: Mapping[str, Any],
    rows: Rows,
    keep: Keep,
    names: Sequence[str | None],
    arrays: Mapping[str, npt.NDArray[Any]],
) -> Path:
    """Write an index into a folder, in place of an index that is there.

    Args:
        place: the folder.
        about: what the manifest says of the index.
        rows: its vectors.
        keep: rows to write [row]; None for all.
        names: one a row that is written.
        arrays: the structure of its kind.

    Raises:
        UserError: the folder holds something else, cannot be written, or the disk is full.
    """
    place = expanded(place).absolute()
    _check_free(place)
    needed = 4 * len(names) * rows.dim + sum(array.nbytes for array in arrays.values()) + 2**20
    check_space(place.parent, needed, f"The index {place.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if exists(place):
            _fill(place, about, rows, keep, names, arrays)
        else:
            _make(place, about, rows, keep, names, arrays)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{place}: the index cannot be written ({reason}); what was there is as it was. Free space, or name a "
            "folder that can be written."
        ) from error
    return place


def _make(place: Path, *content: Any) -> None:
    """Write a new folder beside its place, and rename it."""
    for left in place.parent.glob(f".{escape(place.name)}.partial-*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    work = place.with_name(f".{place.name}.partial-{secrets.token_hex(6)}")
    try:
        work.mkdir()
        _fill(work, *content)
        work.rename(place)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    _flush(place.parent)


def _fill(
    folder: Path,
    about: Mapping[str, Any],
    rows: Rows,
    keep: Keep,
    names: Sequence[str | None],
    arrays: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Write the files into a folder and then the manifest that names them; remove what it does not name."""
    token = secrets.token_hex(6)
    paths = {"vectors": folder / f"vectors-{token}.npy", "ids": folder / f"ids-{token}.jsonl"}
    if arrays:
        paths["structure"] = folder / f"structure-{token}.npz"
    draft, old = folder / f"manifest-{token}.json", _named(folder)
    try:
        _write_vectors(paths["vectors"], rows, keep, len(names))
        _write_names(paths["ids"], names)
        if arrays:
            _write_structure(paths["structure"], arrays)
        files = {what: {"name": path.name, "bytes": path.stat().st_size} for what, path in paths.items()}
        for what in files.keys() - {"vectors"}:  # the fingerprint is theirs
            files[what]["sha256"] = digest_of(paths[what])
        manifest = {"schema": SCHEMA, **about, "rows": len(names), "files": files}
        manifest["digest"] = manifest_digest(manifest)
        _write_text(draft, json.dumps(manifest, indent=1))
        _flush(folder)
        draft.replace(folder / MANIFEST)
    except BaseException:
        if token not in "".join(_named(folder)):  # or the interruption came too late
            for path in (*paths.values(), draft):
                path.unlink(missing_ok=True)
        raise
    _flush(folder)
    with suppress(OSError):  # the index is written; whoever reads the old one may hold its files (Windows)
        for path in folder.iterdir():
            left = path.name != MANIFEST and _OURS.fullmatch(path.name) and path.name[0] != "." and _is_left(path)
            if path not in paths.values() and (path.name in old or left):
                path.unlink()


def _named(folder: Path) -> set[str]:
    """Return the files that a manifest names, as far as it can be read."""
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"].values()
        return {file["name"] for file in files if FILE.fullmatch(file["name"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()


def _is_left(path: Path) -> bool:
    """Return whether a file or folder was left behind by a save that was killed."""
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > LEFT
    return False


def _check_free(place: Path) -> None:
    """Refuse a place that holds something else than an index."""
    if not exists(place):
        return
    if not place.is_dir():
        raise UserError(f"{place} is a file; an index is written into a folder of its own.")
    strange = next((path.name for path in sorted(place.iterdir()) if not _OURS.fullmatch(path.name)), None)
    if strange is not None:
        raise UserError(f"{place} holds {strange!r}, which is no part of an index; name a new or an empty folder.")


def _write_vectors(path: Path, rows: Rows, keep: Keep, n_rows: int) -> None:
    def content(file: Any) -> None:
        file.write(header(n_rows, rows.dim))
        for start, block in rows.blocks():
            part = block if keep is None else block[keep[start : start + len(block)]]
            file.write(np.ascontiguousarray(part, "<f4"))

    _written(path, content)


def _write_names(path: Path, names: Sequence[str | None]) -> None:
    _written(path, lambda file: file.writelines(map(_line, names)))


def _write_structure(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    _written(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def _write_text(path: Path, text: str) -> None:
    _written(path, lambda file: file.write(text.encode()))


def _line(name: str | None) -> bytes:
    return json.dumps(name).encode() + b"\n"


def _written(path: Path, content: Callable[[Any], Any]) -> None:
    """Write a file and flush it to the disk."""
    with path.open("xb") as file:
        content(file)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Flush the names of a folder's files to the disk, where folders can be opened."""
    with suppress(PermissionError):  # Windows
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
