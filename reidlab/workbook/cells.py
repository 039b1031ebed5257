"""Reading notebooks: which one is meant, its title, its parameters cell, its result, how its last run ended."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbformat import NotebookNode
from pydantic import Field, create_model

from reidlab.errors import UserError, nearest
from reidlab.params import NOTEBOOKS, NotebookParams
from reidlab.paths import root
from reidlab.workbook.result import RESULT_TYPE

__all__ = [
    "ParameterLine",
    "find_notebook",
    "list_notebooks",
    "parameter_lines",
    "parameter_model",
    "read_notebook",
    "result_of",
    "tags_of",
    "title_of",
]

TYPES = {t.__name__: t for t in (str, int, float, bool, list, tuple, dict)} | {"Literal": Literal, "None": None}


class ParameterLine:
    """One line of a parameters cell: `name: annotation = default  # description`."""

    def __init__(self, name: str, annotation: str, default: Any, description: str) -> None:
        self.name, self.annotation, self.default, self.description = name, annotation, default, description


def list_notebooks() -> list[Path]:
    """List the workbook's notebooks by number."""
    return sorted((root() / "notebooks").glob("*.ipynb"))


def find_notebook(which: str) -> Path:
    """Find a notebook by number ("3", "03"), name ("03_training", "training") or path.

    Raises:
        UserError: there is none, or several.
    """
    path = Path(which).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    names = {p.stem: p for p in list_notebooks()}
    wanted = path.stem if path.suffix == ".ipynb" else which.strip()
    number = f"{int(wanted):02d}" if wanted.isdecimal() else wanted
    fits = [stem for stem in names if wanted == stem or number == stem.partition("_")[0]]
    fits = fits or [stem for stem in names if stem.partition("_")[2] == wanted]
    if len(fits) == 1:
        return names[fits[0]]
    if fits:
        raise UserError(f"{which!r} fits several notebooks: {', '.join(fits)}. Give the whole name.")
    hint = nearest(wanted, [*names, *(stem.partition("_")[2] for stem in names)])
    raise UserError(f"There is no notebook {which!r}.{hint} There are: {', '.join(names) or 'none'}.")


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook file.

    Raises:
        UserError: it is missing or is not a notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError as error:
        raise UserError(f"There is no notebook {path.name!r} in {path.parent}.") from error
    except Exception as error:  # nbformat raises a dozen kinds for files that are not notebooks
        raise UserError(f"{path.name} cannot be read as a notebook: {error}") from error


def tags_of(cell: NotebookNode) -> list[str]:
    """Give the tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def title_of(notebook: NotebookNode, otherwise: str = "") -> str:
    """Give the first heading."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.search(r"^#{1,2}\s+(.+?)\s*#*$", cell.source, flags=re.MULTILINE)
            if found and "papermill-error-cell-tag" not in tags_of(cell):
                return re.sub(r"[*_`]", "", found.group(1))
    return otherwise


def result_of(notebook: NotebookNode) -> dict[str, Any]:
    """Give what the last `Result` of a notebook holds; empty where it shows none."""
    for cell in reversed(notebook.cells):
        for output in reversed(cell.get("outputs", [])):
            found = output.get("data", {}).get(RESULT_TYPE)
            if isinstance(found, Mapping):
                return dict(found)
    return {}


def parameter_lines(notebook: NotebookNode) -> list[ParameterLine]:
    """Read the parameters cell; no lines where there is no such cell.

    Raises:
        UserError: a line is not `name: type = literal  # description`.
    """
    source = next((c.source for c in notebook.cells if "parameters" in tags_of(c)), "")
    try:
        body = ast.parse(source).body
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError) as error:
        raise UserError(f"The parameters cell does not parse: {error}") from error
    comments = {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}
    lines = []
    for node in body:
        target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
        text = ast.unparse(node)
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(target, ast.Name) or node.value is None:
            raise UserError(f"The parameters cell holds literals only, not {text!r}. Compute in the next cell.")
        try:
            default = ast.literal_eval(node.value)
        except ValueError as error:
            raise UserError(f"In the parameters cell {text!r} is not a literal. Compute in the next cell.") from error
        annotation = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
        lines.append(ParameterLine(target.id, annotation, default, comments.get(node.end_lineno or 0, "")))
    return lines


def parameter_model(path: Path, notebook: NotebookNode) -> type[NotebookParams]:
    """Give the model that checks a notebook's parameters: ours, or for others one made of the parameters cell.

    Raises:
        UserError: as `parameter_lines`.
    """
    known = NOTEBOOKS.get(path.stem)
    if known is not None and path.parent == root() / "notebooks":
        return known
    fields: dict[str, Any] = {
        line.name: (_annotation(line), Field(line.default, description=line.description))
        for line in parameter_lines(notebook)
    }
    model = create_model("CellParams", __base__=NotebookParams, **fields)
    model.notebook = path.stem
    return model


def _annotation(line: ParameterLine) -> Any:
    if not line.annotation:
        return type(line.default) if line.default is not None else Any
    try:
        return eval(line.annotation, {"__builtins__": {}}, TYPES)  # the user's own notebook, run next anyway
    except Exception as error:
        allowed = ", ".join(TYPES)
        message = f"Parameter {line.name!r}: the annotation {line.annotation!r} is not made of {allowed}."
        raise UserError(message) from error
