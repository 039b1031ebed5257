"""Finished runs: reading their manifests, listing, removing, and clearing away what was left unfinished."""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from reidlab.documents import read_json
from reidlab.errors import UserError, nearest
from reidlab.paths import reports_root
from reidlab.store import sources
from reidlab.store.readable import title_of, written

__all__ = [
    "Leftover",
    "Run",
    "find_run",
    "gc",
    "is_current",
    "list_runs",
    "load_run",
    "locked",
    "remove_run",
    "runs_root",
]

SCHEMA = 1
MANIFEST = "manifest.json"
SHORT = 12  # digits of the digest in a folder's name
_LONGEST = 64 * 2**20  # bytes of a manifest, which names every file


@dataclass(frozen=True, eq=False)
class Run:
    """A finished stage: its folder, its manifest, and whether it was made just now."""

    path: Path
    manifest: Mapping[str, Any] = field(repr=False)
    made: bool = False
    problem: str = ""

    @property
    def digest(self) -> str:
        """The digest of parameters, inputs and code, 64 hex digits."""
        return str(self.manifest["digest"])

    @property
    def stage(self) -> str:
        """The stage's name."""
        return str(self.manifest["stage"])

    @property
    def params(self) -> dict[str, Any]:
        """The parameters it was made with."""
        return dict(self.manifest["params"])

    @property
    def result(self) -> dict[str, Any]:
        """The result that the maker returned."""
        return dict(self.manifest["result"])

    @property
    def seconds(self) -> float:
        """Seconds it took to make, earlier attempts of a resumed run included."""
        return float(self.manifest["seconds"])

    def file(self, name: str) -> Path:
        """Return the path of one of its files.

        Raises:
            UserError: there is no such file.
        """
        path = self.path / name
        if not path.exists():
            there = ", ".join(sorted(p.name for p in self.path.iterdir()))
            raise UserError(f"Run {self.path.name} has no file {name!r}. There are: {there}.")
        return path

    def _repr_html_(self) -> str:
        when = str(self.manifest["finished"])[:19].replace("T", " ")
        shown = {
            "run": f"{self.stage}/{self.path.name}",
            "made": f"{when} UTC, {self.seconds:.1f} s" + ("" if self.made else " (found)"),
            "commit": str(self.manifest["git"].get("commit", ""))[:8],
            **self.result,
        }
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(title_of(str(k)))}</th>"
            f"<td style='text-align:left'>{escape(written(v, str(k)))}</td></tr>"
            for k, v in shown.items()
            if v not in ("", None)
        )
        return f"<table>{rows}</table>"


def runs_root() -> Path:
    """Return the folder of all runs."""
    return reports_root() / "runs"


def load_run(path: Path) -> Run:
    """Read a run's manifest and check that its files are whole.

    Raises:
        UserError: the manifest or a file is missing, cut short or of another version.
    """
    remedy = f"Remove it with `reidlab runs rm {path.parent.name}/{path.name}`; it is made again when needed."
    try:
        manifest = read_json(path / MANIFEST, MANIFEST, limit=_LONGEST, finite=False)
        files = manifest["files"]
        manifest["digest"], manifest["params"], manifest["result"], manifest["seconds"]
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error) if isinstance(error, UserError) else type(error).__name__
        raise UserError(f"Run {path.name} is damaged: its {MANIFEST} cannot be read ({reason}). {remedy}") from error
    if manifest.get("schema") != SCHEMA:
        given = manifest.get("schema")
        raise UserError(f"Run {path.name} has manifest version {given!r}, this reidlab reads {SCHEMA}. {remedy}")
    for name, size in files.items():
        file = path / name
        actual = file.stat().st_size if file.is_file() else None
        if actual != size:
            found = "missing" if actual is None else f"{actual} bytes instead of {size}"
            raise UserError(f"Run {path.name} is damaged: {name} is {found}. {remedy}")
    return Run(path, manifest)


@contextmanager
def locked(digest: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a digest; returns False at once where another process has it and `wait` is false.

    The lock files stay: removing one while another process opens it would give two owners.
    """
    from filelock import FileLock, Timeout

    folder = runs_root() / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{digest[:SHORT]}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            yield False
            return
        logging.getLogger(__name__).warning("Waiting for another process that makes run %s.", digest[:SHORT])
        lock.acquire()
    try:
        yield True
    finally:
        lock.release()


class Leftover(NamedTuple):
    """Something that `gc` takes away, and why."""

    path: Path
    reason: str
    megabytes: float


def list_runs(stage: str | None = None) -> list[Run]:
    """List the finished runs, the latest last; damaged ones with a `problem` and what can be read of them."""
    runs = []
    for path in sorted(runs_root().glob("*/*-*")):
        fits = stage is None or fnmatch(path.parent.name, stage)
        if fits and path.is_dir() and not path.name.startswith("."):
            try:
                runs.append(load_run(path))
            except UserError as error:
                blank = {"digest": path.name.rpartition("-")[2], "stage": path.parent.name, "seconds": 0.0}
                blank |= {"params": {}, "result": {}, "finished": "", "git": {}, "inputs": []}
                runs.append(Run(path, blank, problem=str(error)))
    return sorted(runs, key=lambda run: (str(run.manifest.get("finished")), run.path.name))


def find_run(selector: str) -> Run:
    """Find one run by `stage/name-digest`, `name-digest`, or the beginning (4 digits at least) of its digest.

    Raises:
        UserError: no run, or several, fit.
    """
    runs = list_runs()
    wanted = selector.strip().strip("/")
    fits = [run for run in runs if wanted in (run.path.name, f"{run.stage}/{run.path.name}")]
    if not fits and len(wanted) >= 4:
        fits = [run for run in runs if run.path.name.rpartition("-")[2].startswith(wanted[:SHORT])]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UserError(f"{selector!r} matches several runs: {', '.join(f'{r.stage}/{r.path.name}' for r in fits)}.")
    hint = nearest(wanted, [name for r in runs for name in (r.path.name, f"{r.stage}/{r.path.name}")])
    raise UserError(f"There is no run {selector!r}.{hint} `reidlab runs` lists them.")


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


def is_current(run: Run) -> bool:
    """Return whether the code that made a run is unchanged; functions defined in notebooks cannot be looked up."""
    code = run.manifest["code"]
    names = code["names"]
    if any(name.startswith("function:") for name in names):
        return True
    try:
        return sources.code_digest(names, [run.params, code.get("named", [])]) == code["digest"]
    except UserError:
        return False


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
