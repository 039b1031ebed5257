"""Where the workbook lives: REIDLAB_ROOT, a folder that `reidlab new` made, or the clone that the package is in."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from reidlab.errors import UserError, shown

__all__ = [
    "CALLED_FROM",
    "MARK",
    "RECIPES",
    "SHIPPED_MODELS",
    "data_root",
    "exists",
    "expanded",
    "find",
    "mlflow_uri",
    "reports_root",
    "root",
    "tensorboard_root",
]

CALLED_FROM = "REIDLAB_CALLED_FROM"  # set for kernels by `reidlab run`: the folder that a user's paths count from
MARK = "reidlab.yaml"  # the file in a folder that `reidlab new` made
RECIPES = Path(__file__).resolve().parent / "recipes"  # those that come with the package
SHIPPED_MODELS = Path(__file__).resolve().parent / "models" / "shipped"  # trained models, a folder with its card each


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is there; one that no file can have (too long, a null character) is not.

    `Path.exists` raises for these.
    """
    return os.path.exists(path)  # noqa: PTH110


def expanded(given: str | os.PathLike[str], what: str = "") -> Path:
    """Return the path with `~` and `~user` written out.

    Args:
        given: what a user names.
        what: names it in the message, such as "REIDLAB_DATA"; empty: the path itself is enough.

    Raises:
        UserError: nobody knows that user's home folder.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        name = f"{what}={str(given)!r}" if what else f"{str(given)!r}"
        raise UserError(f"{name}: the home folder of that user is not known; write the whole path.") from error


def root() -> Path:
    """Return the folder that holds notebooks/, data/ and reports/.

    REIDLAB_ROOT wins; then the nearest folder at or above the working directory that `reidlab new` made; then the clone
    that the package is in. Papermill starts kernels in the caller's directory and JupyterLab in the notebook's: both
    are inside the workbook.

    Raises:
        UserError: there is none of them.
    """
    given = os.environ.get("REIDLAB_ROOT")
    if given:
        folder = expanded(given, "REIDLAB_ROOT").resolve()
        if not folder.is_dir():
            raise UserError(f"REIDLAB_ROOT={given!r} is not a folder. Create it or point it at a clone of reidlab.")
        return folder
    own = _marked()
    if own is not None:
        return own
    folder = Path(__file__).resolve().parents[1]
    if (folder / "pyproject.toml").is_file():
        return folder
    raise UserError(
        "The workbook folder was not found: this is not inside a workbook. Make one, `reidlab new FOLDER`, and go "
        "there, or set REIDLAB_ROOT to the folder that holds notebooks/, data/ and reports/."
    )


def _marked() -> Path | None:
    """Return the nearest folder at or above the working directory that `reidlab new` made."""
    try:
        here = Path.cwd()
    except OSError:  # it was removed meanwhile
        return None
    return next((folder for folder in (here, *here.parents) if (folder / MARK).is_file()), None)


def data_root() -> Path:
    """Return the folder of data sets: REIDLAB_DATA, or data/ below the root with raw/ (originals) and cache/.

    Raises:
        UserError: it is a file.
    """
    return _folder("REIDLAB_DATA", "data")


def reports_root() -> Path:
    """Return the folder of runs and pages: REIDLAB_REPORTS or reports/ below the root.

    Raises:
        UserError: it is a file.
    """
    return _folder("REIDLAB_REPORTS", "reports")


def _folder(variable: str, usual: str) -> Path:
    """Return the folder that a variable of the environment names, or the usual one; it need not exist yet."""
    given = os.environ.get(variable)
    folder = expanded(given, variable).resolve() if given else root() / usual
    if exists(folder) and not folder.is_dir():
        name = f"{variable}={given!r}" if given else str(folder)
        raise UserError(f"{name} is a file, but must be a folder. Move it away, or set {variable} to a folder.")
    return folder


def tensorboard_root() -> Path:
    """Return the folder of TensorBoard's event files, one folder per run."""
    return reports_root() / "tensorboard"


def mlflow_uri() -> str:
    """Return the address of MLflow's SQLite file, mlflow.db in the folder of reports."""
    return f"sqlite:///{(reports_root() / 'mlflow.db').as_posix()}"


def _refuse_impossible(path: Path) -> None:
    """Refuse paths that no file can have: looking them up would fail later, each time in another way."""
    try:
        path.lstat()
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not a valid path ({error}).") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(
                f"{shown(str(path))} is longer than a path may be: {len(str(path)):,} characters."
            ) from error


def find(given: str | os.PathLike[str]) -> Path:
    """Find what a user names by a path: relative to the working directory, else to the workbook's folder.

    Notebooks run in their own folder and commands anywhere, so that `data/raw/x` means the same in both; it is there
    too where REIDLAB_DATA has moved the folder of data. In a notebook that `reidlab run` started, a path counts from
    where the command was given first. A path that is in no such place comes back as it was given.

    Raises:
        UserError: the home folder that it begins with is not known, or no file can be called so.
    """
    path = expanded(given)
    _refuse_impossible(path)
    caller = os.environ.get(CALLED_FROM)
    if caller and not path.is_absolute() and exists(Path(caller) / path):
        return Path(caller) / path
    if path.is_absolute() or exists(path):
        return path
    try:
        places = [root() / path]
    except UserError:  # outside of any workbook the path stands as it was given
        places = []
    if places and path.parts[:1] == ("data",):
        places.append(data_root().joinpath(*path.parts[1:]))
    return next((place for place in places if exists(place)), path)
