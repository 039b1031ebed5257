"""The `reidlab` command: a thin face over the package's functions.

Exit codes: 0 fine; 1 a notebook or a run of a sweep failed, `doctor` found something broken, or the machine refused
(disk, memory, open files); 2 something given cannot be used; 130 Ctrl-C. What failed is said in one message;
REIDLAB_TRACEBACK=1 adds the traceback. Whatever is heavy is imported inside its command.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from reidlab.cli.console import TYPER, Json, as_json, join_pairs, short, terminal_width
from reidlab.cli.data import data_app
from reidlab.cli.explore import explore
from reidlab.cli.notebooks import run
from reidlab.cli.runs import runs_app
from reidlab.cli.search import compare, search
from reidlab.cli.status import status
from reidlab.cli.sweeps import sweep
from reidlab.errors import UserError
from reidlab.failures import exit_code, print_anything
from reidlab.listings.registered import KINDS
from reidlab.workbook.frugal import forgo

__all__ = ["app", "main"]

app = typer.Typer(
    **(TYPER | {"add_completion": True}),
    no_args_is_help=True,
    help="A notebook-first workbook for re-identification.",
)
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")
for _command in (run, sweep, status, explore, search, compare):
    app.command()(_command)


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
        return exit_code(error)
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
def report(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Executed notebooks: number, name or path.")] = None,
    code: Annotated[bool, typer.Option("--code", help="Show the code as well.")] = False,
    json: Json = False,
) -> None:
    """Turn executed notebooks into self-contained HTML pages with an index."""
    from reidlab.workbook.report import find_executed, write_pages

    built = write_pages(find_executed(notebooks or []), code=code)
    if json:
        as_json({"index": str(built.index), "pages": built.written, "skipped": list(built.skipped)})
        return
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
def new(
    folder: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
    json: Json = False,
) -> None:
    """Make a workbook of one's own: notebooks, data/README.md, a recipe, a sweep and .gitignore."""
    from reidlab.workbook.new import new_workbook

    made = new_workbook(folder)
    if json:
        as_json({"folder": str(made)})
        return
    print(f"made: {made}\ncd {shlex.quote(short(made))} && reidlab run")


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
    json: Json = False,
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
    if json:
        as_json({**asdict(report), "dataset": dataset})
        return
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


if __name__ == "__main__":
    sys.exit(main())
