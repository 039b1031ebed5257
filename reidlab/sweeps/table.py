"""The table of a sweep: a row per run with what was given, what came out and what it took, and means over seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reidlab.documents import read_json
from reidlab.errors import UserError, nearest
from reidlab.sweeps.planning import Plan
from reidlab.sweeps.rows import FINISHED, Row, keep, read_row, row_file, sweeps_root

__all__ = ["SweepTable", "is_number", "list_sweeps", "read_sweep", "seed_summary", "table_of", "write_table"]

RESULTS = "results.json"
_SCHEMA = 1
_LONGEST = 2**28  # bytes of a file of results
_BEFORE = ("run", "name", "notebook", "status", "tags")
_AFTER = (
    "seconds",
    "memory_mb",
    "error",
    "message",
    "cell",
    "executed",
    "began",
    "commit",
    "code",
    "command",
    "digest",
)


@dataclass(frozen=True, eq=False)
class SweepTable:
    """The runs of a sweep.

    Attributes:
        name: of the sweep.
        folder: where it is kept.
        axes: the given parameters that differ between its runs.
        results: the names of the key figures of its notebooks.
        frame: a row per run in the file's order: run, name, notebook, status, tags, the given parameters, the key
            figures, seconds, memory_mb, error, message, cell, executed, began, commit, code, command, digest. Status
            is `open` where a run has not ended. A key figure that is called like another column ends in _result.
        summary: see `seed_summary`.
        records: the same runs as plain data, parameters and key figures apart.
    """

    name: str
    folder: Path
    axes: tuple[str, ...]
    results: tuple[str, ...]
    frame: pd.DataFrame
    summary: pd.DataFrame
    records: Sequence[Mapping[str, Any]]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs have each status."""
        return {str(status): int(count) for status, count in self.frame["status"].value_counts().items()}

    def __repr__(self) -> str:
        said = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        return f"SweepTable({self.name}: {said})"

    def _repr_html_(self) -> str:
        from reidlab.workbook.result import Table

        columns = ["name", "status", *self.results, "seconds", "memory_mb"]
        return Table(self.frame[[name for name in columns if name in self.frame]])._repr_html_()


def table_of(plan: Plan, folder: Path) -> SweepTable:
    """Put the kept rows of a sweep together; a run without one is open."""
    records = []
    for run in plan.runs:
        row = read_row(row_file(folder, run.digest)) or Row(run.digest, "open")
        about = {"run": run.number, "name": run.name, "notebook": run.notebook.stem, "tags": list(run.tags)}
        records.append({**about, "params": dict(run.given), "command": run.command, **asdict(row)})
    return _table(plan.sweep.name, folder, plan.axes, records)


def write_table(plan: Plan, folder: Path) -> SweepTable:
    """Write results.csv, summary.csv and results.json into the folder of a sweep, and return the table."""
    table = table_of(plan, folder)
    content = {
        "schema": _SCHEMA,
        "name": plan.sweep.name,
        "about": plan.sweep.about,
        "digest": plan.digest,
        "axes": list(plan.axes),
        "runs": list(table.records),
        "summary": json.loads(table.summary.to_json(orient="records")),
    }
    keep(folder / "results.csv", _csv(table.frame))
    keep(folder / "summary.csv", table.summary.to_csv(index=False))
    keep(folder / RESULTS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return table


def read_sweep(which: str | Path) -> SweepTable:
    """Read the table of a sweep by its name, name-digest, or folder; of several with a name, the newest.

    Raises:
        UserError: there is none, or its file is damaged.
    """
    folder = Path(which)
    if not (folder / RESULTS).is_file():
        found = {path.name: path for path in list_sweeps()}
        fits = [path for name, path in found.items() if str(which) in (name, name.rpartition("-")[0])]
        if not fits:
            hint = nearest(str(which), [*found, *(name.rpartition("-")[0] for name in found)])
            raise UserError(f"There is no sweep {str(which)!r}.{hint} `reidlab sweep` lists them.")
        folder = fits[-1]
    what = f"sweep {folder.name}"
    content = read_json(folder / RESULTS, what, limit=_LONGEST, finite=False)
    try:
        if content["schema"] != _SCHEMA:
            raise UserError(f"{what} has version {content['schema']!r}; this reidlab reads {_SCHEMA}. Run it again.")
        return _table(content["name"], folder, tuple(content["axes"]), content["runs"])
    except (KeyError, TypeError, AttributeError) as error:
        lacks = f"has no {error}" if isinstance(error, KeyError) else "is no table of runs"
        raise UserError(f"{what} is damaged: {RESULTS} {lacks}. Run the sweep again: it is made anew.") from None


def list_sweeps() -> list[Path]:
    """List the folders of sweeps that have a table, the latest last."""
    files = sweeps_root().glob(f"*/{RESULTS}")
    return [file.parent for file in sorted(files, key=lambda file: (file.stat().st_mtime, file))]


def seed_summary(frame: pd.DataFrame, axes: Sequence[str], results: Sequence[str]) -> pd.DataFrame:
    """Average key figures over seeds.

    Args:
        frame: as in `SweepTable`; only runs that came to their end count.
        axes: parameters that differ; runs that differ in nothing but `seed` belong together.
        results: columns of key figures; those that are no numbers are left out.

    Returns:
        A row for each setting and key figure: notebook, the parameters, measure, n (runs), mean, std (n - 1 in the
        denominator), low and high (95 % interval of the mean, Student's t; missing for one run).
    """
    from reidlab.retrieval.seeds import half_width

    settings = ["notebook", *(name for name in axes if name != "seed")]
    measures = [name for name in results if is_number(frame[name])]
    columns = [*settings, "measure", "n", "mean", "std", "low", "high"]
    done = frame[frame["status"].isin(FINISHED)]
    if not len(done):
        return pd.DataFrame(columns=columns)
    key = done.groupby([done[name].map(_written) for name in settings], sort=False).ngroup()
    parts = []
    for name in measures:
        values = done[name].astype(float).groupby(key)
        part = done.loc[~key.duplicated(), settings].reset_index(drop=True)  # groups are numbered as they come
        part["measure"], part["n"], part["mean"], part["std"] = name, values.count(), values.mean(), values.std()
        reach = half_width(part["std"].to_numpy(), part["n"].to_numpy())
        parts.append(part.assign(low=part["mean"] - reach, high=part["mean"] + reach))
    if not parts:
        return pd.DataFrame(columns=columns)
    found = pd.concat(parts).sort_index(kind="stable")  # the measures of a setting stand together
    return found[found["n"] > 0].reset_index(drop=True)


def _table(name: str, folder: Path, axes: tuple[str, ...], records: Sequence[Mapping[str, Any]]) -> SweepTable:
    params = _columns(tuple(dict.fromkeys(key for record in records for key in record["params"])), (), "_param")
    figures = tuple(dict.fromkeys(key for record in records for key in record["result"]))
    results = _columns(figures, tuple(params.values()), "_result")
    rows = [
        {
            **{column: record[column] for column in _BEFORE if column not in ("run", "tags")},
            "run": record["run"],
            "tags": " ".join(record["tags"]),
            **{column: record["params"].get(key) for key, column in params.items()},
            **{column: record["result"].get(key) for key, column in results.items()},
            **{column: record[column] for column in _AFTER if column != "code"},
            "code": record.get("code", ""),  # tables before it was noted have none
        }
        for record in records
    ]
    frame = pd.DataFrame(rows, columns=[*_BEFORE, *params.values(), *results.values(), *_AFTER])
    named = tuple(params[axis] for axis in axes)
    summary = seed_summary(frame, named, tuple(results.values()))
    return SweepTable(name, folder, named, tuple(results.values()), frame, summary, records)


def _columns(names: Sequence[str], others: Sequence[str], ending: str) -> dict[str, str]:
    """Name a column for each: itself, with an ending where another column is called so."""
    taken = {*_BEFORE, *_AFTER, *others}
    return {name: f"{name}{ending}" if name in taken else name for name in names}


def _csv(frame: pd.DataFrame) -> str:
    """Write a frame; lists and mappings as JSON, so that they can be read back."""
    shown = frame.copy()
    for name in shown.columns[[kind.kind == "O" for kind in shown.dtypes]]:
        shown[name] = [json.dumps(v) if isinstance(v, (list, dict)) else v for v in shown[name]]
    return shown.to_csv(index=False)


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def is_number(column: pd.Series[Any]) -> bool:
    """Return whether a column holds numbers, true and false not among them, and gaps."""
    values = [value for value in column if value is not None and value == value]
    return bool(values) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
