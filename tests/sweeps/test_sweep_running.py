"""Sweeps carried out on a worker in a thread, with notebooks that only pretend to run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from distributed import LocalCluster
from nbformat.v4 import new_code_cell, new_notebook, new_output

import reidlab
from reidlab.cli import main
from reidlab.errors import UserError
from reidlab.paths import mlflow_uri
from reidlab.retrieval.seeds import mean_interval
from reidlab.sweeps import SweepTable, list_sweeps, load_sweep, plan_sweep, read_sweep, run_sweep
from reidlab.sweeps import running as sweeping
from reidlab.sweeps.package import package_code, package_files
from reidlab.sweeps.rows import row_file
from reidlab.sweeps.running import default_workers, folder_of, outdated, running_sweeps
from reidlab.sweeps.table import seed_summary
from reidlab.sweeps.task import Job, carry_out
from reidlab.workbook import Result
from reidlab.workbook.runner import Failure, Outcome

Make = Callable[..., Path]
LONG = 300


class Pretended:
    """In the place of `run_notebook`: fails for a = 3, waits to be stopped for a = 9."""

    def __init__(self) -> None:
        self.ran: list[dict[str, Any]] = []
        self.options: list[dict[str, Any]] = []

    def __call__(self, notebook: Path, params: dict[str, Any], *, output: Path, stop: Any, **options: Any) -> Outcome:
        self.ran.append(dict(params))
        self.options.append(options)
        a = params.get("a", 1)
        if a == 9:
            until(stop)
            return Outcome(notebook, output, "interrupted", 0.1, Failure("Interrupted", "stopped"))
        bundle = Result({"score": a / 4 + params.get("seed", 0), "name": f"run {a}", "none": float("nan")})
        shown = new_output("display_data", bundle._repr_mimebundle_())
        output.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=[new_code_cell("x", outputs=[shown])]), output)
        failure = Failure("ZeroDivisionError", "division by zero", "1 / (a - 3)") if a == 3 else None
        return Outcome(notebook, output, "failed" if failure else "done", 0.5, failure, 81.5)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    made = Pretended()
    monkeypatch.setattr("reidlab.sweeps.task.run_notebook", made)
    return made


@pytest.fixture
def scheduler() -> Iterator[LocalCluster]:
    """Return a cluster whose worker is a thread of this process."""
    pages = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    settings: dict[str, Any] = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "silence_logs": 60, **pages}
    with LocalCluster(n_workers=1, threads_per_worker=1, **settings) as cluster:
        yield cluster


@pytest.fixture
def written(tmp_path: Path, make_notebook: Make) -> Callable[..., Path]:
    notebook = make_notebook("toy", "1", parameters="a: int = 1  # which\nseed: int = 0  # seed")

    def write(values: list[int], name: str = "toys", **more: Any) -> Path:
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"notebooks": str(notebook), "grid": {"a": values}, **more}))
        return file

    return write


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def done(file: Path, cluster: LocalCluster, **more: Any) -> SweepTable:
    return run_sweep(plan_sweep(load_sweep(file)), scheduler=cluster.scheduler_address, view="lines", **more)


def test_rows_and_files(
    written: Callable[..., Path],
    scheduler: LocalCluster,
    pretended: Pretended,
    capfd: pytest.CaptureFixture[str],
) -> None:
    table = done(written([1, 3], seeds=2, limits={"seconds": 9, "memory": "1 GB"}), scheduler)
    assert table.counts == {"done": 2, "failed": 2} and table.axes == ("a", "seed")
    assert pretended.options[0] | {"called_from": None} == {
        "kernel": "python3", "timeout": 9, "memory": 10**9, "called_from": None,
    }  # fmt: skip
    frame = table.frame
    assert list(frame["score"][:2]) == [0.25, 1.25] and frame["score"][2:].isna().all()
    assert frame["name_result"][0] == "run 1" and frame["cell"][2] == "1 / (a - 3)" and frame["memory_mb"][0] == 81.5
    assert frame["command"][1].endswith("toy.ipynb -p a=1 -p seed=1")
    assert all((table.folder / "notebooks" / name).is_file() for name in frame["executed"])
    csv = pd.read_csv(table.folder / "results.csv", keep_default_na=False)
    assert list(csv.columns) == list(frame.columns) and list(csv["status"]) == list(frame["status"])
    content = json.loads((table.folder / "results.json").read_text())
    assert content["runs"][0]["result"] == {"score": 0.25, "name": "run 1", "none": None}
    (summary,) = table.summary.to_dict("records")
    assert (summary["a"], summary["measure"], summary["n"], summary["mean"]) == (1, "score", 2, 0.75)
    pd.testing.assert_frame_equal(read_sweep("toys").frame, frame, check_dtype=False)
    said = capfd.readouterr().err
    assert "1/4 a=1, seed=0: done in 0 s (score=0.25, name=run 1" in said and "4/4 a=3, seed=1: failed" in said


@pytest.mark.filterwarnings("default")  # MLflow and what it needs warn of one another
def test_a_sweep_in_mlflow_is_a_parent_with_children(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended
) -> None:
    from mlflow.tracking import MlflowClient

    file = written([1, 3], seeds=2, about="what a does", tracking="mlflow", tags=["paper"])
    done(file, scheduler)
    client = MlflowClient(mlflow_uri())
    (experiment,) = client.search_experiments(filter_string="name = 'reidlab'")

    def seen() -> dict[str, Any]:
        return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}

    first = seen()
    parent = first.pop("toys")
    assert parent.data.metrics == {"runs done": 2, "runs failed": 2} and parent.info.status == "FAILED"
    assert parent.data.tags["mlflow.note.content"].startswith("what a does\n\nTable: ")
    assert set(first) == {"a=1, seed=0", "a=1, seed=1", "a=3, seed=0", "a=3, seed=1"}
    assert {run.data.tags["mlflow.parentRunId"] for run in first.values()} == {parent.info.run_id}
    good, bad = first["a=1, seed=1"], first["a=3, seed=0"]
    assert good.data.params == {"a": "1", "seed": "1"} and good.info.status == "FINISHED"
    assert good.data.metrics == {"score": 1.25, "seconds": 0.5, "memory_mb": 81.5}  # neither text nor NaN
    assert good.data.tags["reidlab.tags"] == "paper" and "-p seed=1" in good.data.tags["reidlab.command"]
    assert bad.info.status == "FAILED" and bad.data.tags["reidlab.error"] == "ZeroDivisionError"
    done(file, scheduler, keep_failed=True)  # nothing is run: nothing is written twice
    assert {name: run.info.run_id for name, run in seen().items()} == {
        name: run.info.run_id for name, run in {**first, "toys": parent}.items()
    }
    done(file, scheduler)  # the failed ones are run again, and take the place of what they were
    again = seen()
    assert len(again) == 5 and again["toys"].info.run_id == parent.info.run_id
    assert again["a=1, seed=1"].info.run_id == good.info.run_id
    assert again["a=3, seed=0"].info.run_id != bad.info.run_id


def test_sweeps_are_logged_to_mlflow_alone(written: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="'tensorboard' takes no sweeps; mlflow does"):
        load_sweep(written([1], tracking=["tensorboard"]))


def test_only_what_is_not_finished_is_run(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended
) -> None:
    file = written([1, 3])
    done(file, scheduler)
    done(file, scheduler, keep_failed=True)
    assert [each["a"] for each in pretended.ran] == [1, 3]
    done(file, scheduler)
    assert [each["a"] for each in pretended.ran] == [1, 3, 3]
    done(file, scheduler, again=True)
    assert [each["a"] for each in pretended.ran] == [1, 3, 3, 1, 3]
    # a row that was cut short is none
    table = read_sweep("toys")
    row_file(table.folder, table.frame["digest"][0]).write_text("{")
    done(file, scheduler, keep_failed=True)
    assert [each["a"] for each in pretended.ran] == [1, 3, 3, 1, 3, 1]


def test_of_several_rows_the_own_and_then_the_newest_counts(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended
) -> None:
    first, last = written([1], name="alpha"), written([1, 2], name="zeta")
    old = done(first, scheduler)
    row_of_old = row_file(old.folder, old.frame["digest"][0])
    changed = json.loads(row_of_old.read_text()) | {"seconds": 77.0, "began": "2020-01-01T00:00:00Z"}
    row_of_old.write_text(json.dumps(changed))
    assert done(last, scheduler).frame["seconds"][0] == 77  # found there
    own = done(last, scheduler, again=True)
    assert own.frame["seconds"][0] == 0.5
    assert done(last, scheduler).frame["seconds"][0] == 0.5, "its own row is not replaced by another sweep's"
    third = done(written([1, 3], name="middle"), scheduler)
    assert third.frame["seconds"][0] == 0.5, "of two others the newest"


def test_status_counts_what_has_ended_since_the_sweep_began(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, seen = written([1, 2, 3]), []
    done(file, scheduler)
    monkeypatch.setattr("reidlab.sweeps.progress.Lines.refresh", lambda *_: seen.append(running_sweeps()[0]))
    done(file, scheduler, again=True)
    assert seen[0] == {"sweep": seen[0]["sweep"], "runs": 3, "ended": 0, "failed": 0}
    seen.clear()
    done(file, scheduler)  # the failed one alone
    assert (seen[0]["ended"], seen[0]["failed"]) == (2, 0)


def test_a_worker_that_does_not_see_the_folder_loses_no_row(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reidlab.sweeps.task.keep_row", lambda *_: None)  # it kept it somewhere else
    table = done(written([1]), scheduler)
    assert table.counts == {"done": 1}
    job = Job(
        plan_sweep(load_sweep(written([1]))).runs[0], Path("/not/there"), "python3", None, None, Path(), 0, "", ""
    )
    monkeypatch.setattr("reidlab.sweeps.task._cancelled", lambda: lambda: False)
    row = carry_out(job)
    assert row.status == "failed" and "does not see" in row.message and not job.folder.exists()


def test_workers_without_reidlab_or_of_before_are_told(
    written: Callable[..., Path], scheduler: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(folder: Path) -> None:
        raise ModuleNotFoundError("No module named 'reidlab'")

    monkeypatch.setattr(sweeping, "sight", none)
    with pytest.raises(UserError, match=r"cannot import what it needs .*install the same reidlab"):
        done(written([1]), scheduler)
    monkeypatch.setattr(sweeping, "sight", lambda folder: (reidlab.__version__, True))
    with pytest.raises(UserError, match="has other code of reidlab"):
        done(written([1]), scheduler)


def test_a_worker_that_is_lost_while_it_is_asked_is_no_reason_to_stop(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, files = reidlab.__version__, package_files()

    def sees(folder: Path) -> tuple[str, str, bool]:  # sent as it is: it must not name this module's things
        with (folder / "asked").open("a") as file:
            file.write("x")
        if len((folder / "asked").read_text()) < 3:
            raise ConnectionResetError("closed")
        return version, files, True

    monkeypatch.setattr(sweeping, "sight", sees)
    table = done(written([1]), scheduler)
    assert table.counts == {"done": 1} and (table.folder / "asked").read_text() == "xxx"
    monkeypatch.setattr(sweeping, "_TRIES", 0)
    with pytest.raises(UserError, match="come and go"):
        done(written([2]), scheduler)


def test_runs_that_other_code_made_are_run_again_and_no_table_has_two_codes(
    written: Callable[..., Path],
    scheduler: LocalCluster,
    pretended: Pretended,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = written([1, 2, 3])
    first = done(file, scheduler)
    (code,) = set(first.frame["code"])
    assert code == package_code() and not outdated(plan_sweep(load_sweep(file)))
    monkeypatch.setattr(sweeping, "package_code", lambda: "another code")
    monkeypatch.setattr("reidlab.sweeps.loop.package_code", lambda: "another code")
    plan = plan_sweep(load_sweep(file))
    assert outdated(plan) == set(first.frame["digest"][:2])  # the failed run is open anyhow
    assert main(["sweep", str(file), "--dry-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["runs"]
    assert [each["status"] for each in shown] == ["done, by other code", "done, by other code", "failed"]
    kept = done(file, scheduler, any_code=True, keep_failed=True)
    assert len(pretended.ran) == 3 and set(kept.frame["code"][:2]) == {code}
    seen = []
    monkeypatch.setattr("reidlab.sweeps.progress.Lines.refresh", lambda *_: seen.append(read_sweep("toys").counts))
    again = done(file, scheduler, keep_failed=True)
    assert seen[0] == {"open": 2, "failed": 1}, "at no time a table has two codes"
    assert len(list((again.folder / "rows" / "outdated").glob("*.json"))) == 2
    assert [each["a"] for each in pretended.ran[3:]] == [1, 2]
    assert set(again.frame["code"][:2]) == {"another code"}
    # where another sweep has the run by this code, its row is taken, and the old one is kept aside too
    other = done(written([1], name="other"), scheduler)
    mine = row_file(again.folder, again.frame["digest"][0])
    mine.write_text(json.dumps(json.loads(mine.read_text()) | {"code": "older"}))
    taken = done(file, scheduler, keep_failed=True)
    assert len(pretended.ran) == 5 and other.frame["code"][0] == taken.frame["code"][0] == "another code"
    assert json.loads((mine.parent / "outdated" / mine.name).read_text())["code"] == "older"
    row_file(other.folder, other.frame["digest"][0]).unlink()
    # and a row of before the code was noted counts as made by other code
    row = row_file(again.folder, again.frame["digest"][0])
    row.write_text(json.dumps({key: value for key, value in json.loads(row.read_text()).items() if key != "code"}))
    assert outdated(plan) == {again.frame["digest"][0]}


def test_code_that_changes_meanwhile_makes_no_row_of_both(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, meaning = iter(["comment", "comment", "comment"]), {"code": package_code()}

    def seen() -> str:
        name = next(files, "edited")
        meaning["code"] = package_code() if name == "comment" else "other"
        return name

    monkeypatch.setattr("reidlab.sweeps.task.package_files", seen)
    monkeypatch.setattr("reidlab.sweeps.task.package_code", lambda: meaning["code"])
    monkeypatch.setattr(sweeping, "sight", lambda folder: (reidlab.__version__, package_files(), True))
    table = done(written([1, 2, 4]), scheduler)
    # another comment before and after the first; an edit while the second ran; before the third
    assert [each["a"] for each in pretended.ran] == [1, 2]
    assert list(table.frame["status"]) == ["done", "failed", "failed"]
    assert all("the code of reidlab has changed since the sweep began" in text for text in table.frame["message"][1:])


def test_tables_of_before_the_code_was_noted_are_read(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended
) -> None:
    table = done(written([1]), scheduler)
    content = json.loads((table.folder / "results.json").read_text())
    for run in content["runs"]:
        del run["code"]
    (table.folder / "results.json").write_text(json.dumps(content))
    assert list(read_sweep("toys").frame["code"]) == [""]


def test_a_sweep_finds_the_runs_of_another_one(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended
) -> None:
    first = done(written([1]), scheduler)
    larger = done(written([2, 1]), scheduler)
    assert [each["a"] for each in pretended.ran] == [1, 2] and larger.counts == {"done": 2}
    assert larger.frame["executed"][1].startswith("002-") and first.frame["executed"][0].startswith("001-")
    assert (larger.folder / "notebooks" / larger.frame["executed"][1]).is_file()
    assert {path.name for path in list_sweeps()} == {first.folder.name, larger.folder.name}
    # of one name, the newest is read
    assert len(read_sweep("toys").frame) == 2 and len(read_sweep(first.folder.name).frame) == 1
    with pytest.raises(UserError, match=r"There is no sweep 'toy'\. Did you mean 'toys'"):
        read_sweep("toy")


def test_one_process_at_a_time_and_a_scheduler_that_is_lost(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended
) -> None:
    file, told = written([9]), []

    def run() -> None:
        with pytest.raises(UserError) as error:
            done(file, scheduler)
        told.append(str(error.value))

    other = threading.Thread(target=run)
    other.start()
    try:
        until(lambda: pretended.ran)
        with pytest.raises(UserError, match=r"toys-.* is being run by another process"):
            done(file, scheduler)
        (going_on,) = running_sweeps()
        assert going_on["sweep"].startswith("toys-") and (going_on["runs"], going_on["ended"]) == (1, 0)
    finally:
        scheduler.close()
        other.join(LONG)
    assert not running_sweeps()
    assert told and told[0].startswith("the Dask scheduler was lost. What has ended is kept")
    assert not list(folder_of(plan_sweep(load_sweep(file))).glob("rows/*"))


def test_what_is_stopped_stops_its_runs(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped_by_the_user(*_: object) -> None:
        if pretended.ran:
            raise KeyboardInterrupt

    monkeypatch.setattr("reidlab.sweeps.progress.Lines.refresh", stopped_by_the_user)
    with pytest.raises(KeyboardInterrupt):
        done(written([9]), scheduler)
    # the run saw it, and the worker is free again
    monkeypatch.undo()
    monkeypatch.setattr("reidlab.sweeps.task.run_notebook", pretended)
    assert done(written([1]), scheduler).counts == {"done": 1}


def test_a_notebook_that_changes_meanwhile_is_not_run(
    written: Callable[..., Path], scheduler: LocalCluster, pretended: Pretended, make_notebook: Make
) -> None:
    plan = plan_sweep(load_sweep(written([1])))
    make_notebook("toy", "2", parameters="a: int = 1  # which\nseed: int = 0  # seed")
    table = run_sweep(plan, scheduler=scheduler.scheduler_address, view="lines")
    assert table.counts == {"failed": 1} and not pretended.ran
    assert "toy.ipynb has changed since the sweep began" in table.frame["message"][0]


def test_a_run_whose_workers_die_again_and_again_has_failed(
    written: Callable[..., Path], scheduler: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(job: Any) -> None:
        raise RuntimeError("lost\nand more")

    monkeypatch.setattr("reidlab.sweeps.loop.carry_out", lost)
    frame = done(written([1]), scheduler).frame
    assert (frame["status"][0], frame["error"][0], frame["message"][0]) == ("failed", "RuntimeError", "lost")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (("0.0.0", package_files(), True), "has reidlab 0.0.0"),
        ((reidlab.__version__, "other", True), "has other code of reidlab"),
        ((reidlab.__version__, package_files(), False), "a disk that all machines share"),
    ],
)
def test_workers_that_are_not_fit(
    written: Callable[..., Path],
    scheduler: LocalCluster,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[str, str, bool],
    said: str,
) -> None:
    monkeypatch.setattr(sweeping, "sight", lambda folder: answer)
    with pytest.raises(UserError, match=said):
        done(written([1]), scheduler)


def test_as_many_workers_as_cores_and_memory_allow(
    written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "n_threads", lambda: 4)
    free = type("Free", (), {"available": 7 * 10**9})
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    plan = plan_sweep(load_sweep(written([1])))
    assert [default_workers(plan, runs) for runs in (1, 2, 16)] == [1, 2, 3]  # 2 GB each
    large = plan_sweep(load_sweep(written([1], limits={"memory": "100 GB"})))
    small = plan_sweep(load_sweep(written([1], limits={"memory": "1 GB"})))
    assert default_workers(large, 16) == 1 and default_workers(small, 16) == 4


def test_means_over_seeds_are_those_of_each_setting_by_itself() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"notebook": "toy", "a": rng.choice([1, 2, None], 60), "b": rng.choice(["x", "y"], 60)})
    frame["seed"], frame["status"] = range(60), rng.choice(["done", "stopped", "failed"], 60)
    frame["score"], frame["rare"] = rng.random(60), np.where(frame["b"] == "x", rng.random(60), np.nan)
    found = seed_summary(frame, ("a", "b", "seed"), ("score", "rare")).to_dict("records")
    wanted = []
    done = frame[frame["status"] != "failed"]
    for a, b in dict.fromkeys((a, b) for a, b in zip(done["a"], done["b"])):
        part = done[[(x is a or x == a) and y == b for x, y in zip(done["a"], done["b"])]]
        for name in ("score", "rare"):
            values = part[name].dropna().to_numpy()
            if len(values):
                spread, reach = mean_interval(values)
                mean = values.mean()
                wanted.append([a, b, name, len(values), mean, spread, mean - reach, mean + reach])
    assert [[row["a"], row["b"], row["measure"], row["n"]] for row in found] == [row[:4] for row in wanted]
    got = [[row[name] for name in ("mean", "std", "low", "high")] for row in found]
    np.testing.assert_allclose(got, [row[4:] for row in wanted], rtol=1e-12)
