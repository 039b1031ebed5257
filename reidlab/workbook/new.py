"""`reidlab new`: a workbook of one's own, outside of any clone."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from reidlab.errors import UserError
from reidlab.failures import explained
from reidlab.paths import MARK, expanded
from reidlab.workbook.files import write_whole

__all__ = ["new_workbook"]

FRESH = Path(__file__).resolve().parent / "fresh"


def new_workbook(folder: str | Path) -> Path:
    """Make a workbook: notebooks, data/README.md, a recipe, a sweep, .gitignore, and the file that marks it.

    Args:
        folder: a new one, or an empty one.

    Raises:
        UserError: it is a file, has something in it, or cannot be written.
    """
    target = expanded(folder).absolute()
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            what = "has something in it" if target.is_dir() else "is a file"
            raise UserError(f"{target} {what}: give a new folder, or an empty one.")
        for name, source in _files().items():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
        for name in ("data/raw", "reports"):
            (target / name).mkdir()
    except OSError as error:
        raise UserError(f"{target} cannot be made: {explained(error)}") from error
    about = "# This file makes the folder a workbook of reidlab: commands given inside it work on it."
    write_whole(target / MARK, f"{about}\nmade_by: {version('reidlab')}\n")
    return target


def _files() -> dict[str, Path]:
    """Return what is copied: its name in the workbook, and where it is in the package or in the clone around it."""
    clone = Path(__file__).resolve().parents[2]
    home = FRESH if (FRESH / "notebooks").is_dir() else clone
    files = {f"notebooks/{path.name}": path for path in sorted((home / "notebooks").glob("*.ipynb"))}
    if not files:
        raise UserError(f"reidlab has no notebooks in {home / 'notebooks'}: install it again.")
    files["data/README.md"] = home / "data" / "README.md"
    files[".gitignore"] = FRESH / "gitignore.txt"
    return files | {name: FRESH / name for name in ("README.md", "recipes/mine.yaml", "sweeps/seeds.yaml")}
