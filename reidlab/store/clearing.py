"""Removing runs, and clearing away unfinished work and runs that nothing will find again."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from reidlab.store.runs import Run, find_run, is_current, list_runs, locked, runs_root

__all__ = ["Leftover", "gc", "remove_run"]


class Leftover(NamedTuple):
    """Something that `gc` takes away, and why."""

    path: Path
    reason: str
    megabytes: float


def remove_run(selector: str) -> Path:
    """Remove one run and return the folder that it had.

    Raises:
        UserError: as `find_run`.
    """
    run = find_run(selector)
    with locked(run.path.name.rpartition("-")[2]):
        _discard(run.path)
    return run.path


def gc(
    *,
    older_than: float | None = None,
    stale: bool = False,
    inputs: bool = False,
    unfinished: bool = False,
    dry_run: bool = False,
) -> list[Leftover]:
    """Remove unfinished work and, when asked, stale runs; what another process is making just now stays.

    A training that was stopped, and can go on from its checkpoint, stays too.

    Args:
        older_than: only what was not touched for so many days.
        stale: also runs whose code has changed since, which nothing will find again.
        inputs: also stale runs that a run which stays was made from.
        unfinished: also stopped trainings with a checkpoint.
        dry_run: say what would go and leave it.
    """
    latest = time.time() - (older_than or 0) * 86_400
    leftovers = []
    paths = [*runs_root().glob("*/.work-*"), *runs_root().glob("*/.trash-*")]
    paths = [path for path in paths if unfinished or not (path / "checkpoints" / "last.json").is_file()]
    doomed = {path: "unfinished" if path.name.startswith(".work") else "half removed" for path in sorted(paths)}
    if stale:
        doomed |= {run.path: "its code has changed" for run in _stale(list_runs(), inputs)}
    for path, reason in doomed.items():
        if older_than is not None and _touched(path) > latest:
            continue
        with locked(path.name.rpartition("-")[2], wait=False) as free:
            if free and path.exists():
                leftovers.append(Leftover(path, reason, _megabytes(path)))
                if not dry_run:
                    _discard(path)
    return leftovers


def _stale(runs: list[Run], inputs: bool) -> list[Run]:
    old = {run.digest: run for run in runs if run.problem or not is_current(run)}
    if inputs:
        return list(old.values())
    # later stages name a run by its digest, or by that of something it provides (the table of a data run)
    makers = {item: run.digest for run in old.values() if not run.problem for item in run.result.get("provides", [])}
    needed = [digest for run in runs if run.digest not in old for digest in run.manifest["inputs"]]
    while needed:
        digest = needed.pop()
        spared = old.pop(makers.get(digest, digest), None)
        needed += spared.manifest["inputs"] if spared else []
    return list(old.values())


def _discard(path: Path) -> None:
    """Remove a folder; renamed first, so that half removed it does not look finished."""
    digest = path.name.rpartition("-")[2]
    trash = path if path.name.startswith(".trash-") else path.with_name(f".trash-{secrets.token_hex(4)}-{digest}")
    if trash != path:
        path.rename(trash)
    shutil.rmtree(trash)


def _touched(path: Path) -> float:
    return max(p.stat().st_mtime for p in [path, *path.rglob("*")])


def _megabytes(path: Path) -> float:
    return round(sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) / 1e6, 3)
