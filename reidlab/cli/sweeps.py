"""`reidlab sweep`: many runs from one file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidlab.cli.console import Json, as_json, short, table
from reidlab.errors import UserError
from reidlab.failures import check_open_files

if TYPE_CHECKING:
    from reidlab.sweeps import Plan, SweepTable
    from reidlab.sweeps.rows import Row

__all__ = ["sweep"]


def sweep(
    file: Annotated[Path | None, typer.Argument(help="YAML file; docs/guide.md, Sweeps, says what is in it.")] = None,
    workers: Annotated[
        int | None, typer.Option("-w", "--workers", min=1, max=256, help="Runs at the same time.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option(help="Address of a Dask scheduler, tcp://host:8786; default: processes here.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, list the runs, run nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Finished runs too.")] = False,
    keep_failed: Annotated[bool, typer.Option("--keep-failed", help="Try no failed run again.")] = False,
    any_code: Annotated[
        bool, typer.Option("--any-code", help="Keep finished runs that other code of reidlab made.")
    ] = False,
    json: Json = False,
) -> None:
    """Run notebooks with all combinations of parameters in a file; without a file list the sweeps."""
    from reidlab.sweeps import load_sweep, plan_sweep, run_sweep
    from reidlab.sweeps.running import folder_of, outdated

    if file is None:
        _list(json)
        return
    plan = plan_sweep(load_sweep(file))
    if dry_run:
        _show_plan(plan, json)
        return
    check_open_files()
    if plan.repeated and not json:
        print(f"{plan.repeated} combinations equal another one and are left out", file=sys.stderr)
    old = 0 if any_code or again else len(outdated(plan))
    if old and not json:
        print(f"{_runs(old)} made by other code of reidlab and will be run again (see --any-code)", file=sys.stderr)
    try:
        done = run_sweep(
            plan, workers=workers, scheduler=scheduler, again=again, keep_failed=keep_failed, any_code=any_code
        )
    except KeyboardInterrupt:
        kept = short(folder_of(plan))
        print(f"\nstopped. Kept: every run that had ended ({kept}). The same command goes on.", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        as_json({"folder": str(done.folder), "runs": done.records, "summary": done.summary.to_dict("records")})
    else:
        _tell(done)
    raise typer.Exit(int(any(status not in ("done", "stopped") for status in done.counts)))


def _list(json: bool) -> None:
    """List the kept sweeps."""
    from reidlab.sweeps import list_sweeps, read_sweep

    found = []
    for folder in list_sweeps():
        try:
            found.append(read_sweep(folder))
        except UserError as error:  # the others are listed all the same
            print(f"reidlab: {error}", file=sys.stderr)
    if json:
        as_json([{"sweep": each.folder.name, "runs": len(each.frame), "status": each.counts} for each in found])
        return
    rows = [[each.folder.name, str(len(each.frame)), _counted(each)] for each in found]
    table("Sweeps", ["sweep", "runs", "status"], rows)


def _show_plan(plan: Plan, json: bool) -> None:
    """List the runs that a sweep would do, and those that it would find."""
    from reidlab.sweeps.rows import finished_rows, read_row, row_file
    from reidlab.sweeps.running import folder_of, outdated

    folder = folder_of(plan)
    found, old = finished_rows(run.digest for run in plan.runs), outdated(plan)
    rows = []
    for run in plan.runs:
        kept = found[run.digest][0] if run.digest in found else read_row(row_file(folder, run.digest))
        rows.append({"run": run.number, "name": run.name, "status": _known(kept, run.digest in old)})
        rows[-1] |= {"notebook": run.notebook.stem, "params": run.given, "tags": run.tags, "command": run.command}
    if json:
        as_json({"folder": str(folder), "repeated": plan.repeated, "runs": rows})
        return
    table(f"Runs of {plan.label}", ["run", "name", "status", "command"], [_cells(row) for row in rows])
    if plan.repeated:
        print(f"{plan.repeated} combinations equal another one and are left out")


def _known(row: Row | None, old: bool) -> str:
    """Return how a run ended, as far as is known before it is run."""
    return "open" if row is None else f"{row.status}{', by other code' * old}"


def _runs(number: int) -> str:
    return "1 finished run was" if number == 1 else f"{number} finished runs were"


def _cells(row: dict[str, Any]) -> list[str]:
    return [str(row[name]) for name in ("run", "name", "status", "command")]


def _tell(done: SweepTable) -> None:
    """Print the runs, the means over seeds, and where everything is."""
    from reidlab.workbook.result import show

    columns = ["run", "name", "status", *done.results[:6], "seconds", "memory_mb"]
    rows = [[_shown(row[name], show) for name in columns] for row in done.frame.to_dict("records")]
    table(f"Sweep {done.name}", columns, rows)
    failed = done.frame[~done.frame["status"].isin(["done", "stopped", "open"])]
    for row in failed.to_dict("records"):
        print(f"{row['name']}: {row['status']}: {row['error']}: {row['message']}\n  {row['command']}", file=sys.stderr)
    if len(done.summary) and done.summary["n"].max() > 1:
        rows = [[_shown(value, show) for value in row.values()] for row in done.summary.to_dict("records")]
        table("Means over seeds, with 95 % intervals of the mean", list(done.summary.columns), rows)
    print(f"{_counted(done)} -> {short(done.folder / 'results.csv')}")


def _counted(done: SweepTable) -> str:
    return ", ".join(f"{count} {status}" for status, count in done.counts.items())


def _shown(value: Any, show: Callable[[Any], str]) -> str:
    """Return a cell of a table; a gap is empty."""
    return "" if value is None or value != value else show(value)
