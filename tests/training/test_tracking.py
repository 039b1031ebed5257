"""Trackers: every figure once, however often a training resumed; none of them can hurt or change a training."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from training_cases import World, assert_same_run, make_recipe, train, trained

from reidlab.errors import UserError
from reidlab.paths import mlflow_uri, tensorboard_root
from reidlab.registry import Entry
from reidlab.training import tracking
from reidlab.training.tracking import TRACKERS, Tracking, check_tracking, flatten

ROWS = [{"epoch": 1, "loss": 2.0, "seconds": 1.0}, {"epoch": 2, "loss": 1.0, "seconds": 1.0, "val_map": 0.5}]
PARAMS = {"recipe": {"optimizer": {"lr": 0.1}, "losses": [{"name": "triplet"}]}, "seed": 3}


@pytest.fixture(autouse=True)
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REIDLAB_REPORTS", str(tmp_path / "reports"))
    return tmp_path / "reports"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "training" / ".work-ab12cd34"
    folder.mkdir(parents=True)
    return folder


def test_flatten() -> None:
    nested = {"a": {"b": [1, {"c": None}]}, "d": True, "e": [], "f": {}}
    assert flatten(nested) == {"a.b.0": "1", "a.b.1.c": "None", "d": "True", "e": "[]", "f": "{}"}


def test_unknown_and_missing_trackers(monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path) -> None:
    check_tracking([])
    with pytest.raises(UserError, match=r"'mlfow' is unknown; choose from tensorboard, mlflow. Did you mean 'mlflow'"):
        check_tracking(["mlfow"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("mlflow", "tensorboard") else name)
    with pytest.raises(
        UserError, match=r"tensorboard needs tensorboard, which are not installed: pip install tensorboard"
    ):
        check_tracking("tensorboard")
    with pytest.raises(UserError, match=r"pip install mlflow-skinny \(or leave mlflow out\)"):
        train(world, tmp_path / "run", make_recipe(), tracking=["mlflow"])
    assert not (tmp_path / "run").exists(), "refused before anything is done"


def test_nothing_is_imported_until_it_is_wanted() -> None:
    assert all(entry.description for entry in TRACKERS.values())
    assert "mlflow" not in vars(tracking) and "tensorboard" not in vars(tracking)


class Memory:
    """A tracker that keeps everything in memory, and can be broken."""

    store: dict[str, list[tuple[int, str, float]]]
    broken = False
    closed: list[str]

    def __init__(self, name: str, folder: Path, params: Mapping[str, Any], fresh: bool) -> None:
        self.rows = self.store.setdefault(name, [])
        if fresh:
            self.rows.clear()

    def logged(self) -> set[tuple[str, int]]:
        return {(tag, epoch) for epoch, tag, _ in self.rows}

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        for i, (tag, value) in enumerate(values.items()):
            if self.broken and i == 1:  # half an epoch
                raise OSError("database is locked")
            self.rows.append((epoch, tag, value))

    def close(self, status: str) -> None:
        self.closed.append(status)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> type[Memory]:
    Memory.store, Memory.closed, Memory.broken = {}, [], False
    monkeypatch.setitem(
        TRACKERS._own, "memory", Entry("memory", f"{__name__}:Memory", "in memory", facts={"packages": {"sys": "sys"}})
    )
    return Memory


def test_figures_go_under_headings(memory: type[Memory], run_folder: Path) -> None:
    tracked = Tracking(["memory", "memory"], "name", run_folder, PARAMS)
    with tracked.following([]):
        tracked.log(ROWS[:1])
        tracked.log(ROWS)
        tracked.log(ROWS)
    assert memory.store["name"] == [
        (1, "training/loss", 2.0), (1, "speed/seconds", 1.0),
        (2, "training/loss", 1.0), (2, "speed/seconds", 1.0), (2, "validation/val_map", 0.5),
    ]  # fmt: skip
    assert memory.closed == ["FINISHED"]


def test_names_are_safe_in_a_path(memory: type[Memory], run_folder: Path) -> None:
    for given in ("my run/../x", ".work-ab", "//"):
        with Tracking(["memory"], given, run_folder, PARAMS).following([]):
            pass
    assert list(memory.store) == ["my-run-..-x", "work-ab", "run"]


def test_a_tracker_that_fails_is_said_and_catches_up(memory: type[Memory], run_folder: Path) -> None:
    tracked = Tracking(["memory"], "name", run_folder, PARAMS)
    with tracked.following([]):
        memory.broken = True
        with pytest.warns(
            UserWarning, match=r"memory could not be written \(database is locked\)\. Training continues"
        ):
            tracked.log(ROWS[:1])
        memory.broken = False
    resumed = Tracking(["memory"], "name", run_folder, PARAMS)
    with resumed.following(ROWS):
        pass
    rows = memory.store["name"]
    assert len(rows) == len(set(rows)) == 5, "neither a gap nor a figure twice"


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_how_a_training_ended_is_told(
    memory: type[Memory], run_folder: Path, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), Tracking(["memory"], "name", run_folder, PARAMS).following([]):
        raise error
    tracked = Tracking(["memory"], "name", run_folder, PARAMS)
    with tracked.following([]):
        tracked.stopped()
    assert memory.closed == [status, "KILLED"]


def test_a_resumed_training_logs_every_epoch_once(world: World, tmp_path: Path, memory: type[Memory]) -> None:
    recipe = make_recipe(epochs=3, validate_every=1)
    plain = trained(world, tmp_path / "plain", recipe)
    folder = tmp_path / "work"
    assert train(world, folder, recipe, stop_after=1, tracking=["memory"], run_name="readable") is None
    memory.store["readable"].pop()  # as if killed in the middle of a row
    assert train(world, folder, recipe, stop_after=1, tracking=["memory"], run_name="readable") is None
    run = trained(world, folder, recipe, tracking=["memory"], run_name="readable")
    assert_same_run(run, plain)
    rows = memory.store["readable"]
    assert len({row[:2] for row in rows}) == len(rows)
    losses = {epoch: value for epoch, tag, value in rows if tag == "training/loss"}
    assert losses == dict(zip(run.history["epoch"], run.history["loss"]))
    assert len(rows) == run.history.drop(columns="epoch").notna().sum().sum()
    assert memory.closed == ["KILLED", "KILLED", "FINISHED"]
    assert train(world, tmp_path / "again", recipe, stop_after=1, tracking="memory", run_name="readable") is None
    assert {epoch for epoch, _, _ in memory.store["readable"]} == {1}, "a new training of that name begins anew"


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return sorted((e.step, tag, round(e.value, 6)) for tag in found.Tags()["scalars"] for e in found.Scalars(tag))


EVERYTHING = sorted(
    (int(row["epoch"]), tracking._tag(key), value) for row in ROWS for key, value in row.items() if key != "epoch"
)


def test_tensorboard(run_folder: Path) -> None:
    pytest.importorskip("tensorboard")
    place = tensorboard_root() / "pedestrians-demo-ab12cd34"
    for history, rest in (([], ROWS[:1]), (ROWS[:1], ROWS), (ROWS, ROWS)):
        tracked = Tracking(["tensorboard"], place.name, run_folder, PARAMS)
        with tracked.following(history):
            tracked.log(rest)
        assert scalars(place) == [row for row in EVERYTHING if row[0] <= len(rest)]
    text = b"".join(path.read_bytes() for path in sorted(place.iterdir())).decode(errors="ignore")
    assert text.count("| recipe.losses.0.name | triplet |") == 1
    assert str(run_folder.parent / "pedestrians-demo-ab12cd34") in text
    with Tracking(["tensorboard"], place.name, run_folder, PARAMS).following([]):
        pass
    assert scalars(place) == [], "a training that begins anew leaves no old curve"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # its dependencies warn of one another
def test_mlflow(run_folder: Path, reports: Path) -> None:
    for package in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(package)
    name = "pedestrians-demo-ab12cd34"
    for history, rest, ends in (([], ROWS[:1], "stopped"), (ROWS[:1], ROWS, ""), (ROWS, ROWS, "")):
        tracked = Tracking(["mlflow"], name, run_folder, PARAMS)
        with tracked.following(history):
            tracked.log(rest)
            if ends:
                tracked.stopped()
    from mlflow.tracking import MlflowClient

    assert (reports / "mlflow.db").is_file() and not (Path.cwd() / "mlruns").exists()
    client = MlflowClient(mlflow_uri())
    (experiment,) = [e for e in client.search_experiments() if e.name == "reidlab"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == name and run.info.status == "FINISHED"
    where = run_folder.parent / name
    assert run.data.tags["run_folder"] == str(where) and where.as_uri() in run.data.tags["mlflow.note.content"]
    assert run.data.params == {"recipe.optimizer.lr": "0.1", "recipe.losses.0.name": "triplet", "seed": "3"}
    logged = [
        (m.step, tag, m.value) for tag in run.data.metrics for m in client.get_metric_history(run.info.run_id, tag)
    ]
    assert sorted(logged) == EVERYTHING
    assert (run_folder / "mlflow_run.txt").read_text() == run.info.run_id
    with Tracking(["mlflow"], name, run_folder, PARAMS).following([]):
        pass
    again, *_ = runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert len(runs) == 2 and not again.data.metrics, "a training that begins anew is a run of its own"
    (reports / "mlflow.db").write_bytes(b"no data base")
    with pytest.raises(UserError, match=r"mlflow.db cannot be used .*Move it away"):
        Tracking(["mlflow"], "other", run_folder, PARAMS).following([]).__enter__()
    assert "mlflow" in sys.modules
