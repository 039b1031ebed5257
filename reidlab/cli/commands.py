"""The `reidlab` command: a thin face over the package's functions.

Exit codes: 0 fine; 1 a notebook failed, `doctor` found something broken, or the machine refused (disk, memory, open
files); 2 something given cannot be used. Both are said in one message; REIDLAB_TRACEBACK=1 adds the traceback. Whatever
is heavy is imported inside its command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidlab.cli.console import TYPER, Json, as_json, join_pairs, read_file, read_pairs, short, table, terminal_width
from reidlab.cli.data import data_app
from reidlab.cli.runs import runs_app
from reidlab.errors import UserError
from reidlab.failures import check_open_files, explained, print_anything, remedy_in, wants_traceback
from reidlab.listings.registered import KINDS
from reidlab.workbook.frugal import forgo

if TYPE_CHECKING:
    from reidlab.workbook.runner import Outcome

__all__ = ["app", "main"]

app = typer.Typer(
    **(TYPER | {"add_completion": True}),
    no_args_is_help=True,
    help="A notebook-first workbook for re-identification.",
)
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code."""
    print_anything()
    if arguments is None:  # this process is the command's own
        forgo()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=join_pairs(words), prog_name="reidlab")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else explained(error)
        if said is None or wants_traceback():
            raise
        print(f"reidlab: {said}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    return 0


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"reidlab {version('reidlab')}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """A notebook-first workbook for re-identification."""


@app.command()
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
    from reidlab.cli.running import shares, stopped
    from reidlab.workbook import cells
    from reidlab.workbook.names import check_names
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
    if json:
        raise UserError("--json is for lists: `reidlab run --json`, `reidlab run 03 --params --json`.")
    if output is not None and len(paths) > 1:
        raise UserError("--output is for one notebook; use --label for several.")
    parts = shares({**read_file(file), **read_pairs(param or [])}, models)
    for model, given in zip(models, parts):
        check_names(model.from_values(given), given)  # all are refused before the first kernel starts
    check_open_files()
    failed = False
    options: dict[str, Any] = {"kernel": kernel, "timeout": timeout, "cell_timeout": cell_timeout}
    options |= {"label": label, "output": output, "progress": True, "bar": sys.stderr.isatty()}
    for path, given in zip(paths, parts):
        began = time.time()
        try:
            outcome = run_notebook(path, given, **options)
        except KeyboardInterrupt:
            print(f"\n{stopped(path.stem, began)}", file=sys.stderr, flush=True)
            raise typer.Exit(130) from None
        _tell(outcome)
        failed = failed or not outcome.ok
        if failed and not keep_going:
            break
    raise typer.Exit(int(failed))


@app.command()
def report(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Executed notebooks: number, name or path.")] = None,
    code: Annotated[bool, typer.Option("--code", help="Show the code as well.")] = False,
) -> None:
    """Turn executed notebooks into self-contained HTML pages with an index."""
    from reidlab.workbook.report import find_executed, write_pages

    built = write_pages(find_executed(notebooks or []), code=code)
    for line in built.skipped:
        print(f"reidlab: {line}", file=sys.stderr)
    print(f"{built.written} page{'s' if built.written > 1 else ''} and the index: {short(built.index)}")


@app.command()
def results(
    dataset: Annotated[str, typer.Argument(help="Data set that was evaluated on.")],
    select: Annotated[list[str] | None, typer.Option("--run", help="Evaluation runs; default: the newest.")] = None,
    output: Annotated[Path | None, typer.Option(help="Markdown file; default: reports/results/DATASET.md.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Lose rows whose runs are not on this machine.")] = False,
    json: Json = False,
) -> None:
    """Write the table of results on a data set from the manifests of its evaluation runs; --json only prints it."""
    from reidlab.workbook.scoreboard import results_table, write_results

    if json:
        if output or force:
            raise UserError("--json prints the table and writes no file: leave --output and --force out.")
        as_json(results_table(dataset, select or ()).to_dict("records"))
        return
    typer.echo(f"written: {write_results(dataset, select or (), output, force=force)}")


@app.command()
def dashboards(
    names: Annotated[list[str] | None, typer.Argument(help="tensorboard, mlflow; default: both.")] = None,
) -> None:
    """Show what trainings logged: TensorBoard and MLflow on free ports, until Ctrl-C stops both."""
    from reidlab.cli.dashboards import find_dashboards, serve

    raise typer.Exit(serve(find_dashboards(names or ()), say=lambda text: print(text, flush=True)))


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Training run, saved model's folder, NAME:FILE, or registered name.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="ONNX file; default: reports/onnx/NAME.onnx.")
    ] = None,
    preprocess: Annotated[
        str, typer.Option(help="inside: takes uint8 pixels; beside: normalised ones, and a JSON file says how.")
    ] = "inside",
    opset: Annotated[int, typer.Option(help="Of ONNX; 18 to what the installed onnx writes.")] = 18,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    check_images: Annotated[int, typer.Option(min=0, help="Real images to compare on, besides noise.")] = 64,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference from torch.")] = 1e-4,
) -> None:
    """Write a model as ONNX, pre-processing included, and check it against torch with onnxruntime."""
    from reidlab.workbook.export import export_model

    report, dataset = export_model(
        model,
        output,
        preprocess=preprocess,
        opset=opset,
        check_images=check_images,
        tolerance=tolerance,
        force=force,
    )
    print(f"written: {short(report.path)}\n{report}" + (f"\nreal images: {dataset}" if dataset else ""))


@app.command()
def doctor(json: Json = False) -> None:
    """Check Python, packages, devices, kernel, disk and data sets; each problem comes with its remedy."""
    from reidlab.cli.doctor import examine

    if json:
        checks = list(examine())
        as_json([check._asdict() for check in checks])
        raise typer.Exit(int(any(check.state == "fail" for check in checks)))
    worst = 0
    for check in examine():
        print(f"{check.state:<5} {check.what}: {check.found}")
        if check.remedy:
            print(f"      -> {check.remedy}")
        worst = max(worst, ("ok", "warn", "fail").index(check.state))
    raise typer.Exit(int(worst == 2))


def _add_list(kind: str) -> None:
    """Add the command that lists one kind of what is registered, or explains one."""

    @app.command(kind, help=f"List {KINDS[kind].many}, or explain one of them.")
    def listing(
        names: Annotated[
            list[str] | None, typer.Argument(metavar="[NAME]...", help="A name, or names and wildcards ('res*').")
        ] = None,
        json: Json = False,
    ) -> None:
        from reidlab.listings import records, show

        if json:
            as_json(records(kind, names or ()))
            return
        print(show(kind, names or (), width=terminal_width()))


for _kind in KINDS:
    _add_list(_kind)


def _show_parameters(models: Sequence[Any], json: bool) -> None:
    from reidlab.params import describe

    if json:
        as_json({model.notebook: [row._asdict() for row in describe(model)] for model in models})
        return
    for model in models:
        rows = [list(row) for row in describe(model)]
        table(f"Parameters of {model.notebook}", ["name", "type", "default", "allowed", "meaning"], rows)


def _tell(outcome: Outcome) -> None:
    """Return how a notebook ended; of a failure the cell, the error and where the partial notebook is."""
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


if __name__ == "__main__":
    sys.exit(main())
