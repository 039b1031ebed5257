"""Reading the folder of an index: nothing is used before its digest has been compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

from reidlab.documents import as_mapping, read_json
from reidlab.errors import UserError, shown
from reidlab.paths import exists, expanded
from reidlab.retrieval.index.base import Kind
from reidlab.retrieval.index.rows import Rows
from reidlab.retrieval.index.writing import (
    FILE,
    MANIFEST,
    SCHEMA,
    digest_of,
    fingerprint_of,
    header,
    manifest_digest,
)

__all__ = [
    "check_content",
    "check_model",
    "read_manifest",
    "read_names",
    "read_vectors",
    "restore",
    "retried",
]

Read = TypeVar("Read")
ATTEMPTS = 5  # of reading an index that is replaced meanwhile
_TYPES: dict[str, type] = {
    "kind": str,
    "options": dict,
    "metric": str,
    "dim": int,
    "count": int,
    "rows": int,
    "model": str,
    "fingerprint": str,
    "measured": dict,
    "said": list,
    "files": dict,
}
_AGAIN = "Build it again, or bring back a copy."


def retried(place: Path, read: Callable[[Path], Read]) -> Read:
    """Read an index, again if somebody replaced it meanwhile."""
    place = expanded(place)
    for _ in range(ATTEMPTS - 1):
        before = _content(place)
        try:
            return read(place)
        except (UserError, OSError):
            if _content(place) == before:
                raise
    return read(place)


def read_manifest(place: Path) -> dict[str, Any]:
    """Return what an index says of itself.

    Raises:
        UserError: no index, a layout that this version does not know, or a manifest that was changed.
    """
    if not exists(place / MANIFEST):
        raise UserError(f"{place} holds no index: it has no {MANIFEST}. Make one with `Index.build(...).save(folder)`.")
    what = f"{place / MANIFEST}"
    manifest = as_mapping(read_json(place / MANIFEST, what), what)
    if manifest.get("schema") != SCHEMA:
        raise UserError(
            f"{what} has layout {shown(manifest.get('schema'))}; this version of reidlab reads {SCHEMA}. Build the "
            "index again, or use the version that wrote it."
        )
    digest = manifest_digest(manifest)
    if manifest.get("digest") != digest:
        raise UserError(
            f"{what} was changed or is damaged: its digest is {digest[:16]} and it says "
            f"{shown(manifest.get('digest'))}. {_AGAIN}"
        )
    for name, kind in _TYPES.items():
        if not isinstance(manifest.get(name), kind):
            raise UserError(f"{what}: {name}={shown(manifest.get(name))} is no {kind.__name__}. {_AGAIN}")
    return manifest


def check_model(place: Path, manifest: Mapping[str, Any], model: str) -> None:
    """Refuse an index of another model than that of the queries, or (if that is known) of an unknown one."""
    held = manifest["model"]
    if model and model != held:
        theirs = f"of the model {held}" if held else "of a model that it does not name"
        raise UserError(
            f"{place} holds vectors {theirs}, and the queries are of the model {model}: they cannot be compared. Embed "
            "both with one model, or build the index again."
        )


def read_vectors(place: Path, manifest: Mapping[str, Any], *, mmap: bool) -> Float32[np.ndarray, "row dim"]:
    """Return the vectors [row, dim], mapped from their file or read."""
    path = _file(place, manifest, "vectors")
    n_rows, dim = manifest["rows"], manifest["dim"]
    begin = header(n_rows, dim)
    with path.open("rb") as file:
        same = file.read(len(begin)) == begin
    if not same or path.stat().st_size != len(begin) + 4 * n_rows * dim:
        raise UserError(f"{path} is damaged: it does not hold {n_rows} vectors of length {dim}. {_AGAIN}")
    if mmap and n_rows:
        return np.memmap(path, "<f4", "r", len(begin), (n_rows, dim))
    return np.fromfile(path, "<f4", offset=len(begin)).reshape(n_rows, dim)


def read_names(place: Path, manifest: Mapping[str, Any]) -> list[str | None]:
    """Return the names of the rows, None for a removed one."""
    path = _file(place, manifest, "ids")
    names = [json.loads(line) for line in path.read_bytes().splitlines()]
    live = {name for name in names if isinstance(name, str)}
    if len(names) != manifest["rows"] or len(live) != manifest["count"] or len(live) + names.count(None) != len(names):
        raise UserError(f"{path} does not hold the names of {manifest['rows']} vectors. {_AGAIN}")
    return names


def check_content(place: Path, manifest: Mapping[str, Any], rows: Rows, names: list[str | None]) -> None:
    """Compare vectors and names with the fingerprint that the manifest has."""
    found = fingerprint_of(manifest["model"], manifest["metric"], rows, names)
    if found != manifest["fingerprint"]:
        raise UserError(
            f"{place} is damaged, or files of two indexes were mixed: its vectors and names have the fingerprint "
            f"{found[:16]}, and its manifest says {manifest['fingerprint'][:16]}. {_AGAIN}"
        )


def restore(place: Path, manifest: Mapping[str, Any], engine: Kind, rows: Rows) -> None:
    """Give a kind the structure that was saved."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    if "structure" in manifest["files"]:
        path = _file(place, manifest, "structure")
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    try:
        engine.restore(arrays, rows)
    except (KeyError, RuntimeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{place} holds no structure that this version can use as {manifest['kind']!r} ({error}). {_AGAIN}"
        ) from error


def _file(place: Path, manifest: Mapping[str, Any], what: str) -> Path:
    """Return a file that the manifest names, after its size and digest were compared."""
    about = manifest["files"].get(what)
    name = about.get("name") if isinstance(about, dict) else None
    if not isinstance(name, str) or not FILE.fullmatch(name) or not name.startswith(f"{what}-"):
        raise UserError(f"{place / MANIFEST} names no file of {what}. {_AGAIN}")
    path = place / name
    if not exists(path):
        raise UserError(f"{path} is missing: the index is not whole. {_AGAIN}")
    size = path.stat().st_size
    if size != about.get("bytes"):
        raise UserError(f"{path} is damaged: it has {size:,} bytes instead of {shown(about.get('bytes'))}. {_AGAIN}")
    if what != "vectors" and (found := digest_of(path)) != about.get("sha256"):
        raise UserError(
            f"{path} is damaged or of another index: its digest is {found[:16]}, and the manifest says "
            f"{shown(about.get('sha256'))[1:17]}. {_AGAIN}"
        )
    return path


def _content(place: Path) -> bytes:
    try:
        return (place / MANIFEST).read_bytes()
    except OSError:
        return b""
