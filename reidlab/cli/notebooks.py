"""`reidlab run`: notebooks with checked parameters."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidlab.cli.console import Json, as_json, read_file, read_pairs, short, table
from reidlab.errors import UserError
from reidlab.failures import check_open_files, remedy_in

if TYPE_CHECKING:
    from reidlab.workbook.runner import Outcome

__all__ = ["run"]


def run(
    notebooks: Annotated[
        list[str] | None, typer.Argument(help="Number (3), name (03_training) or path; several.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("-p", "--param", metavar="NAME VALUE", help="A parameter; can be repeated.")
    ] = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="YAML file of parameters.")] = None,
    label: Annotated[str, typer.Option(help="Added to the name of the executed notebook.")] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File of the executed notebook.")] = None,
    kernel: Annotated[str, typer.Option("-k", "--kernel", help="Jupyter kernel.")] = "python3",
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds for a whole notebook.")] = None,
    cell_timeout: Annotated[int | None, typer.Option(min=1, help="Seconds for a cell.")] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on with the next after a failure.")] = False,
    show: Annotated[bool, typer.Option("--params", help="Show the parameters and run nothing.")] = False,
    json: Json = False,
) -> None:
    """Run notebooks with checked parameters; without a name list them."""
    from reidlab.cli.running import stopped
    from reidlab.workbook import cells
    from reidlab.workbook.names import check_names, shares
    from reidlab.workbook.runner import run_notebook

    if not notebooks:
        if param or file or label or output:
            raise UserError("Which notebook? Give its number or name first: `reidlab run 03 -p epochs 5`.")
        found = cells.list_notebooks()
        if json:
            as_json([{"name": p.stem, "title": cells.title_of(cells.read_notebook(p))} for p in found])
            return
        table("Notebooks", ["name", "title"], [[p.stem, cells.title_of(cells.read_notebook(p))] for p in found])
        return
    paths = [cells.find_notebook(which) for which in notebooks]
    models = [cells.parameter_model(path, cells.read_notebook(path)) for path in paths]
    if show:
        _show_parameters(models, json)
        return
    if output is not None and len(paths) > 1:
        raise UserError("--output is for one notebook; use --label for several.")
    parts = shares({**read_file(file), **read_pairs(param or [])}, models)
    for model, given in zip(models, parts):
        check_names(model.from_values(given), given)  # all are refused before the first kernel starts
    check_open_files()
    failed = False
    options: dict[str, Any] = {"kernel": kernel, "timeout": timeout, "cell_timeout": cell_timeout}
    options |= {"label": label, "output": output, "progress": True, "bar": sys.stderr.isatty()}
    outcomes = []
    for path, given in zip(paths, parts):
        began = time.time()
        try:
            outcome = run_notebook(path, given, **options)
        except KeyboardInterrupt:
            print(f"\n{stopped(path.stem, began)}", file=sys.stderr, flush=True)
            raise typer.Exit(130) from None
        outcomes.append(outcome)
        if not json:
            _tell(outcome)
        failed = failed or not outcome.ok
        if failed and not keep_going:
            break
    if json:
        as_json([_facts(outcome) for outcome in outcomes])
    raise typer.Exit(int(failed))


def _show_parameters(models: Sequence[Any], json: bool) -> None:
    from reidlab.params import describe

    if json:
        as_json({model.notebook: [row._asdict() for row in describe(model)] for model in models})
        return
    for model in models:
        rows = [list(row) for row in describe(model)]
        table(f"Parameters of {model.notebook}", ["name", "type", "default", "allowed", "meaning"], rows)


def _facts(outcome: Outcome) -> dict[str, Any]:
    """Return how a notebook ended and its key figures, as plain data."""
    from reidlab.workbook.cells import read_notebook, result_of

    there = outcome.output.is_file()
    result = result_of(read_notebook(outcome.output)).get("metrics", {}) if there else {}
    facts = {**asdict(outcome), "notebook": outcome.notebook.stem, "output": str(outcome.output) if there else None}
    return {**facts, "result": result}


def _tell(outcome: Outcome) -> None:
    """Print how a notebook ended; of a failure the cell, the error and where the partial notebook is."""
    name, where = outcome.notebook.stem, short(outcome.output)
    if outcome.failure is None:
        print(f"{name}: {outcome.status} in {outcome.seconds:.1f} s -> {where}", flush=True)
        return
    lines = [f"{name}: {outcome.status} after {outcome.seconds:.1f} s"]
    if outcome.failure.cell:
        lines += ["in this cell:", *(f"    {line}" for line in outcome.failure.cell.splitlines())]
    said = f"{outcome.failure.error}: {outcome.failure.message}"
    lines += filter(None, (said, remedy_in(said)))
    if outcome.output.is_file():
        lines.append(f"What ran so far, with the whole traceback: {where}")
    print("\n".join(lines), file=sys.stderr, flush=True)
