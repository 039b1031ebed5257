"""`reidlab data`: data sets, listed, described and grouped by identity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reidlab.cli.console import TYPER, Json, as_json, frame, read_pairs, table
from reidlab.documents import load_yaml

__all__ = ["data_app"]

data_app = typer.Typer(**TYPER, no_args_is_help=True, help="List and describe data sets.")


@data_app.command("list")
def data_list(json: Json = False) -> None:
    """List the data sets that can be read, and whether they are there."""
    from reidlab.paths import data_root
    from reidlab.registry import DATASETS

    rows = []
    for entry in DATASETS.values():
        folder = entry.facts.get("folder")
        there = folder is None or _filled(data_root() / folder)
        absent = "built in" if entry.name == "pedestrians" else "not there"
        state = "your own" if folder is None else "there" if there else absent
        rows.append([entry.name, state, f"data/{folder}" if folder else "(say where)", entry.description])
    if json:
        as_json([dict(zip(("name", "state", "folder", "description"), row)) for row in rows])
        return
    table("Data sets", ["name", "state", "folder", "description"], rows)


@data_app.command("describe")
def data_describe(
    name: Annotated[str, typer.Argument(help="A name from `reidlab data list`.")],
    root: Annotated[Path | None, typer.Option(help="Its folder, where it is not the usual one.")] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="NAME VALUE", help="An option of its reader: `-p boxes detected`."),
    ] = None,
    json: Json = False,
) -> None:
    """Read a data set and count its images, identities and cameras."""
    from reidlab.data import read, summarise
    from reidlab.data.schema import notes_of

    options = {option: load_yaml(text, f"-p {option}") for option, text in read_pairs(param or []).items()}
    found = read(name, root, **options)
    if json:
        counts = summarise(found).reset_index().to_dict("records")
        as_json({"name": name, "counts": counts, "notes": list(notes_of(found))})
        return
    frame(f"Data set {name}", summarise(found))
    for note in notes_of(found):
        typer.echo(f"Note: {note}")


@data_app.command("group")
def data_group(
    name: Annotated[str, typer.Argument(help="A name from `reidlab data list`.")],
    folder: Annotated[Path, typer.Argument(help="New folder for SPLIT/IDENTITY/IMAGE.")],
    root: Annotated[str, typer.Option(help="The data set's folder, where it is not the usual one.")] = "",
    val_share: Annotated[float, typer.Option(help="Share of training identities held out.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of that split.")] = 0,
    json: Json = False,
) -> None:
    """Make one folder per identity with hard links, split as in notebook 01; no source file is touched."""
    from reidlab.data.copies import group_copies
    from reidlab.stages.data import data_stage

    made = group_copies(data_stage(name, root, val_share=val_share, seed=seed).table, folder)
    if json:
        as_json({"folder": str(folder), "images": len(made)})
        return
    typer.echo(f"{len(made):,} images in {folder}")


def _filled(folder: Path) -> bool:
    """Return whether a folder contains anything."""
    return folder.is_dir() and any(folder.iterdir())
