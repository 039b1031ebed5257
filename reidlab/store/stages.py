"""Stages kept on disk: a result is a folder `reports/runs/<stage>/<name>-<digest>/`, made once, then found.

The digest covers parameters, the digests of the inputs and the code that makes the stage, so a finished
folder is right as it stands. A folder is made beside its place (`.work-<digest>`), flushed to disk and
renamed: killed at any moment, it never looks finished. A lock per digest, freed by the system when its
process dies, lets one process make it while the others wait.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reidlab.errors import UserError
from reidlab.paths import reports_root
from reidlab.space import check_space
from reidlab.store import provenance, sources
from reidlab.store.runs import MANIFEST, SCHEMA, SHORT, Run, load_run, locked, runs_root

__all__ = ["stage"]

PROGRESS = ".progress.json"
FULL = (errno.ENOSPC, errno.EDQUOT)


def stage(
    stage: str,
    name: str,
    *,
    params: Mapping[str, Any],
    make: Callable[[Path], Mapping[str, Any] | None],
    inputs: Sequence[Run | str] = (),
    code: Sequence[sources.Code] = (),
    named: Sequence[Any] = (),
    resumable: bool = False,
) -> Run:
    """Find the run of a stage, or make it.

    Args:
        stage: kind of result, the upper folder: "training".
        name: label in the folder's name; not part of the digest.
        params: plain data that decides the result.
        make: writes its files into the folder it is given and returns plain data for the manifest's `result`.
        inputs: the runs (or digests) it reads.
        code: modules, functions or module names that make the result, besides the module of `make` itself;
            everything of the same package that they import counts too, and what `params` choose by name.
        named: plain data beside `params` whose texts choose code by name, such as the spec of a model that is loaded.
        resumable: keep the work folder when the maker fails or is killed and pass it on to the next attempt,
            which finds its checkpoints there. Otherwise each attempt begins with an empty folder.

    Raises:
        UserError: parameters that are not plain data, a damaged run, a full or read-only disk.
    """
    manifest = _identity(_label(stage), params, inputs, [*code, make], named) | {"name": _label(name)}
    digest = manifest["digest"]
    folder = runs_root() / _label(stage)
    found = _find(folder, digest)
    if found:
        return found
    with _clear_errors(folder), locked(digest):
        found = _find(folder, digest)
        if found:
            return found
        check_space(folder, 0, f"A run of stage {stage!r}")
        work = folder / f".work-{digest[:SHORT]}"
        try:
            before = _begin(work, resumable)
            result = _plain(make(work) or {}, "result")
        except BaseException as error:
            _give_up(work, resumable, error)
            raise
        _finish(work, {**manifest, "result": result}, before)
        target = folder / f"{_label(name)}-{digest[:SHORT]}"
        work.rename(target)
        _flush(folder)
        return Run(target, json.loads((target / MANIFEST).read_text(encoding="utf-8")), made=True)


def _identity(
    stage: str,
    params: Mapping[str, Any],
    inputs: Sequence[Run | str],
    code: Sequence[sources.Code],
    named: Sequence[Any],
) -> dict[str, Any]:
    """Return what tells a run from others, as its manifest has it: parameters, inputs, code, and the digest of them."""
    plain = _plain(params, "params")
    digests = [item.digest if isinstance(item, Run) else str(item) for item in inputs]
    code_digest = sources.code_digest(code, [plain, *named])
    key = {"schema": SCHEMA, "stage": stage, "params": plain, "inputs": digests, "code": code_digest}
    about = {
        "digest": code_digest,
        "names": sources.code_names(code),
        "named": sorted(sources.texts_of(list(named))),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return {**key, "code": about, "digest": digest}


def _find(folder: Path, digest: str) -> Run | None:
    """Find a finished run by its digest, whatever its label."""
    places = [p for p in folder.glob(f"*-{digest[:SHORT]}") if not p.name.startswith(".")]
    return load_run(places[0]) if places else None


def _begin(work: Path, resumable: bool) -> dict[str, Any]:
    """Make or reopen the work folder; return the seconds that earlier attempts took and the start of the first."""
    provenance.reset_peak_memory()
    now = time.time()
    # what runs is what was there at the beginning: an hour later somebody may have committed
    progress: dict[str, Any] = {"seconds": 0.0, "started": now, "began": now, "attempts": 1, "pid": os.getpid()}
    progress |= {"git": provenance.git_state(), "machine": provenance.machine(), "versions": provenance.versions()}
    if work.exists() and not resumable:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    with suppress(OSError, ValueError, KeyError):
        earlier = json.loads((work / PROGRESS).read_text(encoding="utf-8"))
        # Killed without a word, an attempt lasted at least until it last wrote something.
        last = max(p.stat().st_mtime for p in work.rglob("*"))
        progress["seconds"] = earlier["seconds"] + max(0.0, last - earlier["began"])
        progress["started"] = earlier["started"]
        progress["attempts"] = earlier["attempts"] + 1
        state = {name: earlier[name] for name in ("git", "machine")}
        progress["earlier"] = [*earlier.get("earlier", []), state]
    (work / PROGRESS).write_text(json.dumps(progress))
    return progress


def _give_up(work: Path, resumable: bool, error: BaseException) -> None:
    if resumable:
        error.add_note(f"Finished work is kept in {work.name}; the next run goes on from there.")
    else:
        shutil.rmtree(work, ignore_errors=True)


def _finish(work: Path, manifest: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Write the manifest and flush every file and folder to the disk."""
    (work / PROGRESS).unlink(missing_ok=True)
    now = time.time()
    files = sorted(p for p in work.rglob("*") if p.is_file() and p != work / MANIFEST)
    params, result = manifest["params"], manifest["result"]
    manifest |= {
        "device": result.get("device", params.get("device")),
        "seed": params.get("seed"),
        "started": _utc(before["started"]),
        "finished": _utc(now),
        "seconds": round(before["seconds"] + now - before["began"], 3),
        "attempts": before["attempts"],
        "peak_memory_mb": provenance.peak_memory_mb(),
        "git": before["git"],
        "versions": before["versions"],
        "machine": before["machine"],
        "earlier": before.get("earlier", []),
        "files": {p.relative_to(work).as_posix(): p.stat().st_size for p in files},
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    (work / MANIFEST).write_text(text + "\n", encoding="utf-8")
    for path in [*files, work / MANIFEST, *(p for p in work.rglob("*") if p.is_dir()), work]:
        _flush(path)


def _flush(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _utc(seconds: float) -> str:
    # milliseconds: runs of the same second keep their order
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")


def _label(text: str) -> str:
    """Make a safe part of a file name of `text`."""
    label = re.sub(r"[^\w.-]+", "-", str(text)).strip("-.")[:60]
    if not label:
        raise UserError(f"{text!r} cannot name a run: use letters, digits, '-', '_' and '.'.")
    return label


def _plain(value: Any, where: str) -> Any:
    """Copy plain data; NumPy scalars become numbers, tuples lists.

    Raises:
        UserError: anything else, named by its place: "params['model']['layers']".
    """
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise UserError(f"{where} has the key {name!r}: keys are text.")
        return {name: _plain(part, f"{where}[{name!r}]") for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part, f"{where}[{i}]") for i, part in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        if where.startswith("result"):
            return None
        raise UserError(f"{where} is {value}: only finite numbers can be kept.")
    if value is None or isinstance(value, (str, int, float)):
        return value
    kind = type(value).__name__
    raise UserError(
        f"{where} is a {kind}: a stage keeps text, numbers, true/false, None, lists and dictionaries of these. "
        "Give a name, a number or a digest that stands for it."
    )


@contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    """Return what to do about a full or read-only disk."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            elsewhere = error.filename is not None and not str(error.filename).startswith(str(reports_root()))
            place = f"{error.filename} is full" if elsewhere else f"the runs is full ({folder.parent})"
            raise UserError(
                f"The disk that holds {place}. Free space with `reidlab runs gc` and "
                "`reidlab runs rm`, or point REIDLAB_REPORTS at another disk."
            ) from error
        ours = str(error.filename or "").startswith(str(reports_root()))
        if ours and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(
                f"Runs cannot be written to {folder.parent} ({error.strerror}). "
                "Make it writable or set REIDLAB_REPORTS to another folder."
            ) from error
        raise
