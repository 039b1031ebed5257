"""TensorBoard and MLflow side by side, each on a free port (`reidlab.cli.serving`).

MLflow's pages need the whole package mlflow, which needs older versions of packages that reidlab pins. Where it is not
in this environment, uv keeps it in one of its own (`uv tool run`, fetched once).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reidlab.cli.serving import Dashboard, serve
from reidlab.errors import UserError, nearest
from reidlab.paths import mlflow_uri, reports_root, tensorboard_root

__all__ = ["DASHBOARDS", "Dashboard", "find_dashboards", "serve"]

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}  # it would report its use over the network


def _tensorboard() -> Dashboard:
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "TensorBoard is not installed: pip install tensorboard (or name only: reidlab dashboards mlflow)."
        )
    folder = tensorboard_root()
    folder.mkdir(parents=True, exist_ok=True)
    start = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    return Dashboard("TensorBoard", lambda host, port: [*start, "--host", host, "--port", str(port)])


def _mlflow() -> Dashboard:
    reports_root().mkdir(parents=True, exist_ok=True)
    start = [*_mlflow_program(), "server", "--backend-store-uri", mlflow_uri(), "--workers", "1"]
    place = (reports_root() / "mlflow-artifacts").as_uri()
    more = ["--default-artifact-root", place]
    return Dashboard("MLflow", lambda host, port: [*start, *more, "--host", host, "--port", str(port)], env=QUIET)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _mlflow_program() -> list[str]:
    """Return the command of a whole mlflow: this environment's, else uv's own, of the version that logs here."""
    if _version("mlflow"):
        return [sys.executable, "-m", "mlflow"]
    beside = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if beside is None:
        raise UserError(
            "MLflow's pages need the package mlflow: pip install uv, which keeps it in an environment of its own "
            "(or name only: reidlab dashboards tensorboard)."
        )
    logs = _version("mlflow-skinny")
    wanted = f"mlflow=={logs}" if logs else "mlflow"
    return [beside, "tool", "run", "--quiet", "--python", sys.executable, "--from", wanted, "mlflow"]


DASHBOARDS: dict[str, Callable[[], Dashboard]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}


def find_dashboards(names: Sequence[str] = ()) -> list[Dashboard]:
    """Find the commands of the named dashboards, or of all.

    Raises:
        UserError: an unknown name, or a package that is missing, with the command that installs it.
    """
    for name in names:
        if name not in DASHBOARDS:
            raise UserError(
                f"dashboard {name!r} is unknown; choose from {', '.join(DASHBOARDS)}.{nearest(name, DASHBOARDS)}"
            )
    return [DASHBOARDS[name]() for name in dict.fromkeys(names or DASHBOARDS)]
