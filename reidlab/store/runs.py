"""Finished runs: reading their manifests, listing and finding them, and the lock that guards their folders."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from html import escape
from pathlib import Path
from typing import Any

from reidlab.documents import read_json
from reidlab.errors import UserError, nearest
from reidlab.paths import reports_root
from reidlab.store import sources
from reidlab.store.readable import title_of, written

__all__ = [
    "Run",
    "find_run",
    "is_current",
    "list_runs",
    "load_run",
    "locked",
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
