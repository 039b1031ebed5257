"""Where executed notebooks lie: written beside under a name of their own, renamed when their run has ended."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from reidlab.errors import UserError
from reidlab.failures import explained
from reidlab.paths import reports_root
from reidlab.workbook.files import read_notebook

__all__ = ["executed_root", "make_way", "publish"]


def executed_root() -> Path:
    """Return the folder of executed notebooks."""
    return reports_root() / "executed"


def make_way(target: Path) -> Path:
    """Make way for an output; return the file beside it that is written until the run has ended.

    Raises:
        UserError: something else than an executed notebook would be lost, or nothing can be written there.
    """
    if target.is_file() and not _replaceable(target):
        raise UserError(f"{target} is not an executed notebook and would be overwritten. Give another --output.")
    beside = target.with_name(f".{target.stem}.{os.getpid()}.ipynb")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear(target)
        target.unlink(missing_ok=True)  # what a run that died leaves must not look like this run's
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise UserError(f"{target} cannot be written: {explained(error)} Or give another --output.") from error
    return beside


def _replaceable(target: Path) -> bool:
    """Return whether a file is an executed notebook, or what is left of one: nothing, or junk among executed ones."""
    try:
        return "papermill" in read_notebook(target).metadata
    except UserError:
        return target.stat().st_size == 0 or target.parent == executed_root().resolve()


def _clear(target: Path) -> None:
    """Remove what runs of the same notebook left that were killed with the process that started them."""
    import psutil

    for left in target.parent.glob(f".{glob.escape(target.stem)}.*.ipynb"):
        number = left.name.removesuffix(".ipynb").rpartition(".")[2]
        if number.isdecimal() and not psutil.pid_exists(int(number[:9])):
            left.unlink(missing_ok=True)


def publish(beside: Path, target: Path) -> None:
    """Give a run's output its final name, unless the run was stopped in the middle of writing it."""
    if beside.is_file():
        try:
            read_notebook(beside)
            beside.replace(target)
        except (UserError, OSError):
            beside.unlink(missing_ok=True)
