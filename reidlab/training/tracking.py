"""Log a training to TensorBoard or MLflow: every figure of every epoch once, however often the training resumed.

Event files go to reports/tensorboard, MLflow's runs into the SQLite file reports/mlflow.db. Trackers only listen: if
one cannot write, it warns and catches up later; nothing in the training depends on them.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from reidlab.errors import UserError
from reidlab.paths import mlflow_uri, reports_root, tensorboard_root
from reidlab.registry import TRACKERS

__all__ = ["TRACKERS", "Tracker", "Tracking", "check_tracking", "flatten", "log_params", "mlflow_store"]

_EXPERIMENT = "reidlab"
_SPEED = ("seconds", "images", "images_per_second", "wait_share")
_RUN_ID = "mlflow_run.txt"  # in the run's folder: the way back to MLflow


class Tracker(Protocol):
    """Where one run is logged."""

    def logged(self) -> set[tuple[str, int]]:
        """Return the (tag, epoch) pairs that are there already."""

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log the figures of an epoch by their tags."""

    def close(self, status: str) -> None:
        """Close the log with the status FINISHED, KILLED (the training can go on) or FAILED."""


def check_tracking(names: Sequence[str]) -> None:
    """Refuse unknown trackers, and those whose packages are missing.

    Raises:
        UserError: with the nearest name, or with the command that installs what is missing.
    """
    for name in [names] if isinstance(names, str) else names:
        needed = TRACKERS.find(name).facts.get("packages", {})
        missing = [pip for module, pip in needed.items() if importlib.util.find_spec(module) is None]
        if missing:
            raise UserError(
                f"tracking: {name} needs {', '.join(missing)}, which are not installed: "
                f"pip install {' '.join(missing)} (or leave {name} out)."
            )


def flatten(content: Any, prefix: str = "") -> dict[str, str]:
    """Turn nested plain data into dotted names and text: {"optimizer.lr": "0.001", "losses.0.name": "triplet"}."""
    if isinstance(content, Mapping):
        pairs: Any = content.items()
    elif isinstance(content, (list, tuple)):
        pairs = enumerate(content)
    else:
        return {prefix: str(content)}
    parts = [flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in pairs]
    return {name: value for part in parts for name, value in part.items()} or {prefix: str(content)}


def _tag(name: str) -> str:
    """Return the name of a figure under its heading."""
    heading = "validation" if name.startswith("val_") else "speed" if name in _SPEED else "training"
    return f"{heading}/{name}"


class Tracking:
    """All trackers of one run.

    Args:
        names: of trackers; none does nothing.
        run_name: what they show, and the name of the run's folder in the end.
        folder: the run's folder now.
        params: plain data that describes the run.
    """

    def __init__(self, names: Sequence[str], run_name: str, folder: Path, params: Mapping[str, Any]) -> None:
        self.names = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
        self.run_name = re.sub(r"[^\w.-]+", "-", run_name).strip("-.") or "run"  # a folder's name, as stages make it
        self.folder, self.params = folder, params
        self._open: dict[str, tuple[Tracker, set[tuple[str, int]]]] = {}
        self._status = "FINISHED"

    @contextmanager
    def following(self, history: Sequence[Mapping[str, float]]) -> Iterator[None]:
        """Open the trackers and catch up with what an earlier session left out; close them in the end.

        Args:
            history: rows of the epochs before this session; none means that the training begins, and what trackers
                have of an earlier one of this name is not its.
        """
        for name in self.names:
            tracker = TRACKERS.find(name).factory(self.run_name, self.folder, self.params, not history)
            self._open[name] = tracker, tracker.logged()
        self.log(history)
        try:
            yield
        except BaseException as error:
            self._status = "FAILED" if isinstance(error, Exception) else "KILLED"
            raise
        finally:
            for name in self.names:
                with _forgiving(name):
                    self._open[name][0].close(self._status)

    def stopped(self) -> None:
        """Mark the training as stopped here and able to go on: its status becomes KILLED."""
        self._status = "KILLED"

    def log(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write the figures of all epochs that are not there yet."""
        for name in self.names:
            tracker, done = self._open[name]
            with _forgiving(name):
                for row in history:
                    epoch = int(row["epoch"])
                    values = {_tag(key): float(value) for key, value in row.items() if key != "epoch"}
                    new = {tag: value for tag, value in values.items() if (tag, epoch) not in done}
                    if new:
                        tracker.write(epoch, new)
                        done |= {(tag, epoch) for tag in new}


@contextmanager
def _forgiving(name: str) -> Iterator[None]:
    """Keep a training alive when its tracker fails: a locked database or a full disk costs curves, not hours."""
    try:
        yield
    except Exception as error:
        warnings.warn(
            f"{name} could not be written ({error}). Training continues; missing figures follow with the next epoch.",
            stacklevel=4,
        )


class TensorBoard:
    """Curves as event files."""

    def __init__(self, name: str, folder: Path, params: Mapping[str, Any], fresh: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.place = tensorboard_root() / name
        if fresh:  # curves of a training of this name that was removed, or killed before its first checkpoint
            shutil.rmtree(self.place, ignore_errors=True)
        begins = not self.place.exists()
        self.writer = SummaryWriter(str(self.place))
        if begins:
            rows = "\n".join(f"| {key} | {value} |" for key, value in flatten(params).items())
            self.writer.add_text("parameters", f"Run folder: {folder.parent / name}\n\n|name|value|\n|---|---|\n{rows}")

    def logged(self) -> set[tuple[str, int]]:
        """Return the (tag, epoch) pairs that the event files hold."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(self.place), size_guidance={"scalars": 0})
        found.Reload()
        return {(tag, event.step) for tag in found.Tags()["scalars"] for event in found.Scalars(tag)}

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add a scalar for each tag at `epoch`, and flush, so that a live page shows them."""
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, epoch)
        self.writer.flush()

    def close(self, status: str) -> None:
        """Close the event file; TensorBoard has no place for a status."""
        self.writer.close()


@contextmanager
def mlflow_store() -> Iterator[tuple[Any, str]]:
    """Give a client of reports/mlflow.db and the id of reidlab's experiment in it; what is missing is made.

    Raises:
        UserError: the file cannot be used.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report its use over the network
    logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)  # every step of making its tables
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    reports = reports_root()
    reports.mkdir(parents=True, exist_ok=True)
    try:
        client = MlflowClient(mlflow_uri())
        found = client.get_experiment_by_name(_EXPERIMENT)
        place = (reports / "mlflow-artifacts").as_uri()
        yield client, found.experiment_id if found else client.create_experiment(_EXPERIMENT, artifact_location=place)
    except MlflowException as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"tracking: {reports / 'mlflow.db'} cannot be used ({reason}). Move it away, or leave mlflow out."
        ) from error


def log_params(client: Any, run_id: str, params: Mapping[str, Any]) -> None:
    """Write parameters, flattened to dotted names, to a run of MLflow."""
    from mlflow.entities import Param

    flat = [Param(key[:250], value[:6000]) for key, value in flatten(params).items()]
    for start in range(0, len(flat), 100):  # MLflow takes a hundred at a time
        client.log_batch(run_id, params=flat[start : start + 100])


class MLflow:
    """Parameters and curves in the SQLite file of all runs."""

    def __init__(self, name: str, folder: Path, params: Mapping[str, Any], fresh: bool) -> None:
        with mlflow_store() as (self.client, experiment):
            self.run_id = self._find(folder, fresh) or self._begin(name, folder, params, experiment)
        (folder / _RUN_ID).write_text(self.run_id, encoding="utf-8")

    def _find(self, folder: Path, fresh: bool) -> str | None:
        """Return the MLflow run that this folder was logged to before; a beginning training takes only an empty one."""
        from mlflow.exceptions import MlflowException

        note = folder / _RUN_ID
        if not note.is_file():
            return None
        try:
            run = self.client.get_run(note.read_text(encoding="utf-8"))
        except MlflowException:  # another data base, or deleted there
            return None
        if fresh and run.data.metrics:
            return None
        self.client.update_run(run.info.run_id, status="RUNNING")
        return str(run.info.run_id)

    def _begin(self, name: str, folder: Path, params: Mapping[str, Any], experiment: str) -> str:
        where = folder.parent / name
        tags = {"run_folder": str(where), "mlflow.note.content": f"Run folder: [{name}]({where.as_uri()})"}
        run_id = str(self.client.create_run(experiment, run_name=name, tags=tags).info.run_id)
        log_params(self.client, run_id, params)
        return run_id

    def logged(self) -> set[tuple[str, int]]:
        """Return the (tag, epoch) pairs of all metrics of the MLflow run."""
        tags = self.client.get_run(self.run_id).data.metrics
        return {(tag, metric.step) for tag in tags for metric in self.client.get_metric_history(self.run_id, tag)}

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log the figures of `epoch` in one batch; NaN and infinite ones are left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        finite = {tag: value for tag, value in values.items() if math.isfinite(value)}
        self.client.log_batch(self.run_id, metrics=[Metric(tag, value, now, epoch) for tag, value in finite.items()])

    def close(self, status: str) -> None:
        """End the MLflow run with `status`: FINISHED, KILLED or FAILED."""
        self.client.set_terminated(self.run_id, status)
