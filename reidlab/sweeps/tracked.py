"""A sweep in MLflow: a parent run, and below it a child run for each of its runs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reidlab.sweeps.table import SweepTable
from reidlab.training.tracking import log_params, mlflow_store

__all__ = ["log_sweep"]

_SWEEP, _ROW, _STATE = "reidlab.sweep", "reidlab.row", "reidlab.state"  # tags by which runs are found again
_PARENT = "mlflow.parentRunId"  # the tag by which MLflow's page nests runs
_STATUS = {"done": "FINISHED", "stopped": "KILLED"}


def log_sweep(table: SweepTable, about: str = "") -> str:
    """Write a sweep to reports/mlflow.db, or bring what is there up to date; open runs are left out.

    The child run of a row has its parameters, the numbers among its key figures, seconds and memory as metrics, and
    notebook, error and command as tags. A row that has not changed since is not written again.

    Args:
        table: of the sweep.
        about: what it asks, in a sentence.

    Returns:
        The id of the parent run.

    Raises:
        UserError: the file cannot be used.
    """
    with mlflow_store() as (client, experiment):
        parent, kept = _parent(client, experiment, table, about)
        for record in table.records:
            if record["status"] == "open":
                continue
            state = json.dumps([record["status"], record["began"], record["seconds"]])
            before = kept.get(record["digest"])
            if before is not None:
                if before.data.tags.get(_STATE) == state:
                    continue
                client.delete_run(before.info.run_id)
            _child(client, experiment, parent, record, state)
        ended = "FAILED" if set(table.counts) - {"done", "stopped", "open"} else "FINISHED"
        client.log_batch(parent, metrics=_metrics({f"runs {name}": count for name, count in table.counts.items()}))
        client.set_terminated(parent, "RUNNING" if "open" in table.counts else ended)
        return parent


def _parent(client: Any, experiment: str, table: SweepTable, about: str) -> tuple[str, dict[str, Any]]:
    """Return the id of the sweep's run, which is made if it is missing, and its children by the digests of rows."""
    name = table.folder.name
    found = client.search_runs([experiment], f"tags.`{_SWEEP}` = '{name}'", max_results=1)
    if not found:
        tags = {_SWEEP: name, "mlflow.note.content": f"{about}\n\nTable: {table.folder / 'results.csv'}".strip()}
        made = client.create_run(experiment, run_name=table.name, tags=tags)
        log_params(client, made.info.run_id, {"axes": list(table.axes), "runs": len(table.frame)})
        return str(made.info.run_id), {}
    parent, token = str(found[0].info.run_id), None
    kept: dict[str, Any] = {}
    while True:
        page = client.search_runs([experiment], f"tags.`{_PARENT}` = '{parent}'", page_token=token)
        kept |= {run.data.tags[_ROW]: run for run in page if _ROW in run.data.tags}
        token = page.token
        if not token:
            return parent, kept


def _child(client: Any, experiment: str, parent: str, record: Mapping[str, Any], state: str) -> None:
    told = {"notebook": record["notebook"], "status": record["status"], "command": record["command"]}
    told |= {name: str(record[name]) for name in ("error", "message", "cell", "commit") if record.get(name)}
    told |= {"tags": ", ".join(record["tags"])} if record["tags"] else {}
    tags = {_PARENT: parent, _ROW: record["digest"], _STATE: state}
    tags |= {f"reidlab.{name}": value[:5000] for name, value in told.items()}
    began = _milliseconds(record["began"])
    run = client.create_run(experiment, start_time=began, run_name=record["name"][:250], tags=tags).info.run_id
    log_params(client, run, record["params"])
    # true and false count as 1 and 0
    figures = {name: value for name, value in (record["result"] or {}).items() if isinstance(value, (int, float))}
    taken = {"seconds": record["seconds"], "memory_mb": record["memory_mb"]}
    client.log_batch(run, metrics=_metrics({**figures, **{name: each for name, each in taken.items() if each}}))
    ended = None if began is None else began + int(1000 * record["seconds"])
    client.set_terminated(run, _STATUS.get(record["status"], "FAILED"), end_time=ended)


def _metrics(values: Mapping[str, Any]) -> list[Any]:
    """Name the finite values as MLflow allows: letters, digits and a few signs."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    named = {
        "".join(sign if sign.isalnum() or sign in "_-. /" else "_" for sign in name): v for name, v in values.items()
    }
    return [Metric(name[:250], float(value), now, 0) for name, value in named.items() if math.isfinite(value)]


def _milliseconds(began: str | None) -> int | None:
    moment = pd.to_datetime(began, utc=True, errors="coerce") if began else pd.NaT
    return None if pd.isna(moment) else int(moment.timestamp() * 1000)
