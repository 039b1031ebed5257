"""Write a `pedestrians` data set to disk: all of it or nothing, with as many processes as there are cores."""

from __future__ import annotations

import csv
import json
import logging
import multiprocessing
import os
import secrets
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, fields
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from reidlab.errors import UserError
from reidlab.paths import data_root
from reidlab.pedestrians.person import Person, draw_person
from reidlab.pedestrians.render import shoot
from reidlab.pedestrians.spec import DRAWING, FOLDERS, PedestriansSpec, Picture, pictures
from reidlab.progress import bar
from reidlab.space import check_space
from reidlab.store import sources

__all__ = ["make_pedestrians"]

_PALETTE = (0, 0, 0, 40, 170, 90, 230, 120, 30)  # background black, person green, occluder orange


def make_pedestrians(
    folder: Path, spec: PedestriansSpec, *, workers: int | None = None, progress: bool = False
) -> Path:
    """Draw a data set in Market-1501's layout below `folder` and return the folder.

    Beside Market's three folders stand `masks/` (the same tree as paletted PNGs: 0 background, 1 person, 2 occluder),
    `images.csv` (view and occluder of each picture), `persons.csv` (attributes of each identity) and `spec.json`.
    The folder appears when it is complete; a complete one of the same spec is kept as it is.

    Args:
        folder: where to write; must not exist, be empty, or hold the same data set.
        spec: what to draw.
        workers: processes, by default one per core; the pictures do not depend on it.
        progress: show a bar.

    Raises:
        UserError: the folder holds something else or lacks pictures, `workers` is below 1, or the disk has too little
            room or refuses to be written.
    """
    folder = Path(folder)
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers!r} is not allowed: give 1 or more, or None for one per core.")
    if _is_made(folder, spec):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".part", dir=folder.parent))
        try:
            _write(draft, spec, workers or os.cpu_count() or 1, progress)
            draft.chmod(0o755)
            try:
                draft.rename(folder)
            except OSError:  # somebody else finished first
                if not _is_made(folder, spec):
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"The pedestrians data set cannot be written to {folder} ({error.strerror or error})."
        ) from error
    return folder


def _card(spec: PedestriansSpec) -> dict[str, int]:
    return {"drawing": DRAWING, **asdict(spec)}


def _is_made(folder: Path, spec: PedestriansSpec) -> bool:
    """Return whether the folder holds this data set already; refuse one that holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    remedy = "Delete it or give another folder."
    try:
        found = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{folder} exists and is not a complete pedestrians data set. {remedy}") from None
    wanted = _card(spec)
    if found == wanted:
        lacking = _lacking(folder, spec)
        if lacking:
            raise UserError(f"{folder} is not complete: {lacking}. {remedy}")
        return True
    found = found if isinstance(found, dict) else {}
    other = [f"{k}={found.get(k)!r} instead of {v!r}" for k, v in wanted.items() if found.get(k) != v]
    raise UserError(f"{folder} holds a pedestrians data set with {', '.join(other) or 'other fields'}. {remedy}")


def _lacking(folder: Path, spec: PedestriansSpec) -> str:
    """Return which files of a drawn data set are missing or empty; "" where all are there."""
    wanted = {"images.csv", "persons.csv", "spec.json"}
    for picture in pictures(spec):
        place = Path(FOLDERS[picture.split]) / picture.name
        wanted |= {place.as_posix(), ("masks" / place).with_suffix(".png").as_posix()}
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.stat().st_size
    }
    lost = sorted(wanted - there)
    return f"{len(lost):,} of {len(wanted):,} files are missing or empty, the first is {lost[0]}" if lost else ""


def _write(draft: Path, spec: PedestriansSpec, workers: int, progress: bool) -> None:
    """Draw everything into the draft folder; spec.json comes last."""
    for name in FOLDERS.values():
        (draft / name).mkdir()
        (draft / "masks" / name).mkdir(parents=True)
    plan = sorted(pictures(spec), key=lambda picture: picture.camid)  # a worker keeps its camera's scene at hand
    room = len(plan) * (spec.height * spec.width + 2 * 4096)  # a picture and its mask, with what a block wastes
    check_space(draft, room, f"The pedestrians data set of {len(plan):,} pictures")
    with _mapped(partial(_draw_file, draft, spec), plan, workers) as drawn:
        rows = sorted(_with_bar(drawn, len(plan), progress))
    with (draft / "images.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "split", "pid", "camid", "index", "view", "occluder"))
        table.writerows(rows)
    with (draft / "persons.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in fields(Person)])
        for pid in range(1, spec.n_train_ids + spec.n_test_ids + 1):
            table.writerow(astuple(draw_person(spec.seed, pid)))
    (draft / "spec.json").write_text(json.dumps(_card(spec), indent=2) + "\n", encoding="utf-8")


def _draw_file(draft: Path, spec: PedestriansSpec, picture: Picture) -> tuple[str, str, int, int, int, str, str]:
    """Draw one picture and its mask; return its row of images.csv."""
    shot = shoot(spec.seed, picture.pid, picture.camid, picture.index, spec.height, spec.width)
    path = f"{FOLDERS[picture.split]}/{picture.name}"
    (draft / path).write_bytes(shot.jpeg)
    _save_mask(shot.mask, (draft / "masks" / path).with_suffix(".png"))
    return path, picture.split, picture.pid, picture.camid, picture.index, shot.view, shot.occluder


def _save_mask(mask: npt.NDArray[np.uint8], path: Path) -> None:
    image = Image.fromarray(mask)
    image.putpalette(_PALETTE)
    image.save(path, "PNG", compress_level=1, bits=2)


@contextmanager
def _mapped(function: partial, plan: list[Picture], workers: int) -> Iterator[Iterable[tuple]]:
    """Map over the plan with processes (forked on Linux: nothing is imported twice) or, with one worker, without."""
    workers = min(workers, len(plan))
    if workers == 1:
        yield map(function, plan)
        return
    context = multiprocessing.get_context("fork" if sys.platform.startswith("linux") else "spawn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: ours only draw and write files
        pool = context.Pool(workers)
    with pool:
        yield pool.imap_unordered(function, plan, chunksize=max(1, min(24, len(plan) // workers)))


def _with_bar(rows: Iterable[tuple], total: int, progress: bool) -> Iterable[tuple]:
    if not progress:
        return rows
    return bar(rows, total=total, desc="drawing pedestrians", unit="image")


def built_in(seed: int = 0, *, workers: int | None = None) -> Path:
    """Return the folder of the built-in data set; draw it first if it is missing.

    Its name holds a digest of the drawing code, so that changed drawing never passes off old pictures as new ones.
    Where files of it were deleted or emptied, it is drawn again.
    """
    code = sources.code_digest(["reidlab.pedestrians"])[:8]
    folder, spec = data_root() / "cache" / f"pedestrians-{seed}-{code}", PedestriansSpec(seed=seed)
    lacking = _lacking(folder, spec) if folder.is_dir() else ""
    if lacking:
        logging.getLogger(__name__).warning("%s is drawn again: %s.", folder, lacking)
        old = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.part")
        with suppress(OSError):  # refused (a read-only cache), reported below; another process may have been faster
            folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    return make_pedestrians(folder, spec, workers=workers)
