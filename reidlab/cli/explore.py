"""`reidlab explore`: the explorers of notebook 21 as a page of this machine, served by Voila."""

from __future__ import annotations

import html
import os
import secrets
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from reidlab.cli.console import read_pairs
from reidlab.errors import UserError, shown

__all__ = ["explore"]

NOTEBOOK = "21_explorer"
_WAITING = (
    "#loading::after {{ content: '{}'; max-width: min(90%, 46em); margin-top: 1em; text-align: center;"
    " font: 15px sans-serif; }}"
)
FIRST_PORT, PORTS = 8866, 20  # Voila's own, and how many from there on are tried


def explore(
    run: Annotated[
        str, typer.Option("--run", help="Training run: its model and its data; or a model folder, or NAME:FILE.")
    ] = "",
    param: Annotated[
        list[str] | None, typer.Option("-p", "--param", metavar="NAME VALUE", help="A parameter of notebook 21.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=f"Port; default: the first free one from {FIRST_PORT} on.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Look at data, triplets, trainings, rankings and embeddings in a page of this machine, until Ctrl-C."""
    from reidlab.cli.serving import HOST, Dashboard, serve
    from reidlab.workbook.cells import find_notebook
    from reidlab.workbook.voila_server import check_voila, voila_command, voila_environment

    check_voila()
    given = parameters(run, read_pairs(param or []))
    source = find_notebook(NOTEBOOK)
    chosen, token = _port(HOST, port), secrets.token_hex(24)
    with tempfile.TemporaryDirectory(prefix="reidlab-explore-") as scratch:
        notebook = write_copy(source, given, Path(scratch))
        page = Dashboard(
            "The explorers",
            lambda _host, at: voila_command(notebook, at),
            port=chosen,
            path=f"/?token={token}",
            env=voila_environment(token),
        )
        shows = browser and not os.environ.get("SSH_CONNECTION")
        code = serve([page], say=_say, ready=lambda found: _open(found[0], Path(scratch)) if shows else None)
    if code == 0:
        _say("The explorers are stopped.")
    raise typer.Exit(code)


def parameters(run: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the checked parameters of notebook 21 that differ from its defaults.

    Args:
        run: what --run names, or "".
        given: of -p, as text.

    Raises:
        UserError: unknown or unfit parameters, or names of what is not there.
    """
    from reidlab.params import NOTEBOOKS
    from reidlab.workbook.names import check_names

    if run and "model" in given:
        raise UserError(f"--run {shown(run)} and -p model {shown(given['model'])} both name the model: give one.")
    values: dict[str, Any] = {**(_of_run(run) if run else {}), **given}
    checked = NOTEBOOKS[NOTEBOOK].from_values(values)
    check_names(checked, values)
    return {name: getattr(checked, name) for name in values}


def _of_run(run: str) -> dict[str, Any]:
    """Return the model that --run names and, of a training run, how its data set was prepared."""
    from reidlab.store.runs import find_run, list_runs

    try:
        found = find_run(run)
    except UserError:
        return {"model": run}  # a folder or a file; what is nothing of this kind is refused with the parameters
    if found.stage != "training":
        raise UserError(f"--run {shown(run)} is a run of {found.stage}; name one of `reidlab runs list training`.")
    values = {"model": found.path.name, "dataset": found.params["dataset"]}
    for data in list_runs("data"):
        if set(data.result.get("provides", ())) & set(found.manifest["inputs"]):
            values |= {name: data.params[name] for name in ("seed", "split", "val_share", "options")}
    return values


def write_copy(source: Path, given: Mapping[str, Any], folder: Path) -> Path:
    """Write the notebook with its parameters into a folder, as papermill would, and return the copy.

    Its first cell is a sentence that stands below Voila's spinner until the page is there.
    """
    import nbformat

    from reidlab.workbook.cells import read_notebook, tags_of

    notebook = read_notebook(source)
    if given:
        lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in given.items())]
        at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in tags_of(cell))
        injected = nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": ["injected-parameters"]})
        notebook.cells.insert(at + 1, injected)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"<style>{_WAITING.format(_meanwhile(given))}</style>"))
    target = folder / source.name
    nbformat.write(notebook, target)
    return target


def _meanwhile(given: Mapping[str, Any]) -> str:
    """Return what is going on while the page is made, as far as the parameters tell."""
    if given.get("model"):
        return (
            "The data set and the model are being read. The first time all images are embedded, which can take minutes."
        )
    name = given.get("recipe") or "demo"
    recipe = name if str(name).replace("_", "").isalnum() else "of that file"  # it is written into a style sheet
    return (
        "The data set and the newest training are being read. If this data has no training yet, one by recipe "
        f"{recipe} runs first: about a minute for the built-in data, far longer for a large data set."
    )


def _port(host: str, wanted: int | None) -> int:
    """Return the port that is wanted, or the first free one.

    Raises:
        UserError: it is taken, or none of those that are tried is free.
    """
    ports: Sequence[int] = [wanted] if wanted is not None else range(FIRST_PORT, FIRST_PORT + PORTS)
    for port in ports:
        with socket.socket() as probe:
            if os.name == "posix":  # as the server does: a port whose last connection lingers is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                refused = error.strerror
            else:
                return port
    if wanted is not None:
        raise UserError(f"--port {wanted} cannot be used ({refused}); leave --port out, and a free one is taken.")
    raise UserError(f"None of the ports {ports[0]} to {ports[-1]} is free ({refused}); name another one by --port.")


def _open(address: str, scratch: Path) -> None:
    """Open the page in a browser by way of a file: a command line, token and all, can be read by other users."""
    file = scratch / "open.html"
    file.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(address)}">', encoding="utf-8")
    webbrowser.open(file.as_uri())


def _say(text: str) -> None:
    print(text, flush=True, file=sys.stdout)
