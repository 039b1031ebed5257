"""Where the workbook lives: found from the package or REIDLAB_ROOT, never from the working directory."""

from __future__ import annotations

import os
from pathlib import Path

from reidlab.errors import UserError

__all__ = ["CALLED_FROM", "RECIPES", "data_root", "find", "mlflow_uri", "reports_root", "root", "tensorboard_root"]

CALLED_FROM = "REIDLAB_CALLED_FROM"  # set for kernels by `reidlab run`: the folder that a user's paths count from
RECIPES = Path(__file__).resolve().parent / "recipes"  # those that come with the package


def root() -> Path:
    """Give the folder that holds notebooks/, data/ and reports/.

    REIDLAB_ROOT wins; otherwise it is the folder above the package (an editable install of a clone). Papermill
    starts kernels in the caller's directory and JupyterLab in the notebook's, so the working directory says nothing.

    Raises:
        UserError: neither exists.
    """
    given = os.environ.get("REIDLAB_ROOT")
    if given:
        folder = Path(given).expanduser().resolve()
        if not folder.is_dir():
            raise UserError(f"REIDLAB_ROOT={given!r} is not a folder. Create it or point it at a clone of reidlab.")
        return folder
    folder = Path(__file__).resolve().parents[1]
    if (folder / "pyproject.toml").is_file():
        return folder
    raise UserError(
        "The workbook folder was not found: reidlab is installed outside a clone. "
        "Set REIDLAB_ROOT to the folder that holds notebooks/, data/ and reports/."
    )


def data_root() -> Path:
    """Give the folder of data sets: REIDLAB_DATA, or data/ below the root with raw/ (originals) and cache/."""
    given = os.environ.get("REIDLAB_DATA")
    return Path(given).expanduser().resolve() if given else root() / "data"


def reports_root() -> Path:
    """Give the folder of runs and pages: REIDLAB_REPORTS or reports/ below the root."""
    given = os.environ.get("REIDLAB_REPORTS")
    return Path(given).expanduser().resolve() if given else root() / "reports"


def tensorboard_root() -> Path:
    """Give the folder of TensorBoard's event files, a folder a run."""
    return reports_root() / "tensorboard"


def mlflow_uri() -> str:
    """Give the address of MLflow's SQLite file, mlflow.db in the folder of reports."""
    return f"sqlite:///{(reports_root() / 'mlflow.db').as_posix()}"


def find(given: str | os.PathLike[str]) -> Path:
    """Find what a user names by a path: relative to the working directory, else to the workbook's folder.

    Notebooks run in their own folder and commands anywhere, so that `data/raw/x` means the same in both; it is there
    too where REIDLAB_DATA has moved the folder of data. In a notebook that `reidlab run` started, a path counts from
    where the command was given first. A path that is in no such place comes back as it was given.
    """
    path = Path(given).expanduser()
    caller = os.environ.get(CALLED_FROM)
    if caller and not path.is_absolute() and (Path(caller) / path).exists():
        return Path(caller) / path
    if path.is_absolute() or path.exists():
        return path
    places = [root() / path]
    if path.parts[:1] == ("data",):
        places.append(data_root().joinpath(*path.parts[1:]))
    return next((place for place in places if place.exists()), path)
