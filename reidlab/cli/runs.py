"""`reidlab runs`: the kept runs, listed, removed and cleared away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidlab.cli.console import TYPER, Json, as_json, short, table, terminal_width
from reidlab.listings.layout import definitions

if TYPE_CHECKING:
    from reidlab.store.runs import Run

__all__ = ["runs_app"]

runs_app = typer.Typer(**TYPER, help="List, show, remove and clear away the kept runs.")


@runs_app.callback(invoke_without_command=True)
def runs(context: typer.Context, json: Json = False) -> None:
    """List the kept runs."""
    if context.invoked_subcommand is None:
        runs_list(json=json)


@runs_app.command("list")
def runs_list(stage: Annotated[str | None, typer.Argument(help="Only this stage.")] = None, json: Json = False) -> None:
    """List the kept runs, the latest last."""
    from reidlab import store
    from reidlab.workbook.result import show

    rows = []
    if json:
        as_json([_facts(item) for item in store.list_runs(stage)])
        return
    for item in store.list_runs(stage):
        said = {**item.result.get("scores", {}), **item.result}
        result = ", ".join(f"{k}={show(v)}" for k, v in said.items() if isinstance(v, (int, float, str)))
        when = str(item.manifest["finished"])[:16].replace("T", " ")
        rows.append([f"{item.stage}/{item.path.name}", when, f"{item.seconds:.1f}", item.problem or result[:100]])
    table("Runs", ["run", "finished (UTC)", "seconds", "result"], rows)


@runs_app.command("show")
def runs_show(
    selector: Annotated[str, typer.Argument(metavar="NAME", help="stage/name-digest, name-digest, or a digest.")],
    json: Json = False,
) -> None:
    """Show all that is kept of a run: where it lies, what it was made from and by, and its result."""
    from reidlab import store
    from reidlab.listings.explained import written

    item = store.find_run(selector)
    facts = {**_facts(item), "folder": short(item.path)}
    if not item.problem:
        about = ("digest", "inputs", "git", "versions", "machine")
        facts |= {name: item.manifest[name] for name in about if item.manifest.get(name)}
        facts |= {"files": sorted(file.name for file in item.path.iterdir() if not file.name.startswith("."))}
    if json:
        as_json(facts)
        return
    rows = []
    for name, value in facts.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        rows += [
            (f"{name} {part}".strip(), said if isinstance(said, str) else written(said))
            for part, said in parts
            if said not in ("", None)
        ]
    print(definitions(rows, terminal_width()))


def _facts(item: Run) -> dict[str, Any]:
    """Return what a list says of a run, as plain data."""
    facts = {"run": f"{item.stage}/{item.path.name}", "stage": item.stage, "problem": item.problem}
    if item.problem:
        return facts
    finished = str(item.manifest["finished"])
    return {**facts, "finished": finished, "seconds": item.seconds, "params": item.params, "result": item.result}


@runs_app.command("rm")
def runs_rm(
    selectors: Annotated[list[str], typer.Argument(help="stage/name-digest, name-digest, or a digest.")],
    json: Json = False,
) -> None:
    """Remove runs; they are made again when needed."""
    from reidlab import store

    names = []
    for item in [store.find_run(selector) for selector in selectors]:  # none is removed if one is unknown
        names.append(f"{item.stage}/{item.path.name}")
        store.remove_run(names[-1])
        if not json:
            print(f"removed {names[-1]}")
    if json:
        as_json(names)


@runs_app.command("gc")
def runs_gc(
    older_than: Annotated[float | None, typer.Option(min=0, help="Only what is older than so many days.")] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Also runs whose code has changed since.")] = False,
    inputs: Annotated[bool, typer.Option("--inputs", help="Also stale runs that a current run was made from.")] = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Also stopped trainings that could go on.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
    json: Json = False,
) -> None:
    """Remove unfinished work (interrupted trainings too) and, with --stale, runs that nothing will find again."""
    from reidlab import store

    gone = store.gc(older_than=older_than, stale=stale, inputs=inputs, unfinished=unfinished, dry_run=dry_run)
    if json:
        as_json([{**item._asdict(), "path": f"{item.path.parent.name}/{item.path.name}"} for item in gone])
        return
    for path, reason, megabytes in gone:
        print(f"{'would remove' if dry_run else 'removed'} {path.parent.name}/{path.name}: {reason}, {megabytes:g} MB")
    print(f"{sum(item.megabytes for item in gone):g} MB in {len(gone)} folders")
