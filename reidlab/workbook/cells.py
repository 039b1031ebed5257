"""Reading notebooks: which one is meant, its title, its parameters cell, its result, how its last run ended."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from pydantic import Field, create_model

from reidlab.errors import UserError, nearest, shown
from reidlab.params import NOTEBOOKS, NotebookParams
from reidlab.paths import exists, expanded, root
from reidlab.workbook.annotations import check_plain, type_of
from reidlab.workbook.files import read_notebook
from reidlab.workbook.result import RESULT_TYPE

__all__ = [
    "ParameterLine",
    "find_notebook",
    "headings",
    "list_notebooks",
    "parameter_lines",
    "parameter_model",
    "read_notebook",
    "result_of",
    "tags_of",
    "title_of",
]


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
    path = expanded(which)
    if path.suffix == ".ipynb" and exists(path) and path.is_file():
        return path.resolve()
    names = {p.stem: p for p in list_notebooks()}
    wanted = path.stem if path.suffix == ".ipynb" else which.strip()
    number = f"{int(wanted):02d}" if wanted.isdecimal() and len(wanted) < 10 else wanted
    fits = [stem for stem in names if wanted == stem or number == stem.partition("_")[0]]
    fits = fits or [stem for stem in names if stem.partition("_")[2] == wanted]
    if len(fits) == 1:
        return names[fits[0]]
    if fits:
        raise UserError(f"{which!r} matches several notebooks: {', '.join(fits)}. Give the whole name.")
    hint = nearest(wanted, [*names, *(stem.partition("_")[2] for stem in names)])
    raise UserError(f"There is no notebook {which!r}.{hint} There are: {', '.join(names) or 'none'}.")


def tags_of(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def headings(text: str, deepest: int = 6) -> list[str]:
    """Return the headings of a Markdown text, without their marks."""
    lines = (line.strip() for line in text.splitlines() if line.startswith("#"))
    levels = [(line, len(line) - len(line.lstrip("#"))) for line in lines]
    found = [line[level:].strip().rstrip("#").strip() for line, level in levels if level <= deepest]
    return [re.sub(r"[*_`]", "", words) for words in found if words]


def title_of(notebook: NotebookNode, otherwise: str = "") -> str:
    """Return the first heading."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "papermill-error-cell-tag" not in tags_of(cell):
            found = headings(cell.source, 2)
            if found:
                return found[0]
    return otherwise


def result_of(notebook: NotebookNode) -> dict[str, Any]:
    """Return what the last `Result` of a notebook holds; empty where it shows none."""
    for cell in reversed(notebook.cells):
        for output in reversed(cell.get("outputs", [])):
            found = output.get("data", {}).get(RESULT_TYPE)
            if isinstance(found, Mapping):
                return dict(found)
    return {}


def parameter_lines(notebook: NotebookNode) -> list[ParameterLine]:
    """Read the parameters cell, without running it; no lines where there is no such cell.

    Raises:
        UserError: a line is not `name: type = literal  # description`.
    """
    source = next((c.source for c in notebook.cells if "parameters" in tags_of(c)), "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\\d" is a warning of Python and valid text here
            body = ast.parse(source).body
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        comments = {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}
        return [_parameter_line(node, comments) for node in body]
    except UserError:
        raise
    except (SyntaxError, tokenize.TokenError, ValueError) as error:  # a null character is a ValueError
        raise UserError(f"The parameters cell does not parse: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise UserError("The parameters cell does not parse: it is nested too deeply.") from error


def _parameter_line(node: ast.stmt, comments: Mapping[int, str]) -> ParameterLine:
    target = node.target if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [None])[0]
    text = shown(ast.unparse(node), 200)
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(target, ast.Name) or node.value is None:
        raise UserError(f"The parameters cell may hold only literals, not {text}. Compute in the next cell.")
    try:
        default = ast.literal_eval(node.value)
        check_plain(default)
    except (ValueError, TypeError) as error:  # of the latter kind: a list as a name in a mapping
        why = str(error).partition(" on line ")[0].partition(": <ast.")[0]
        raise UserError(
            f"In the parameters cell {text} is not a literal of text, numbers, true, false, None, lists and mappings "
            f"({why}). Compute in the next cell."
        ) from error
    annotation = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
    return ParameterLine(target.id, annotation, default, comments.get(node.end_lineno or 0, ""))


def parameter_model(path: Path, notebook: NotebookNode) -> type[NotebookParams]:
    """Return the model that checks a notebook's parameters: ours, or for others one made of the parameters cell.

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
    taken = [name for name in fields if name.startswith(("_", "model_")) or name in vars(NotebookParams)]
    if taken:
        raise UserError(f"{path.name}: a parameter cannot be called {taken[0]!r}; give it another name.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "copy" or "json" hide a method that nobody calls
            model = create_model("CellParams", __base__=NotebookParams, **fields)
    except Exception as error:  # pydantic has a dozen kinds for types and names that it cannot use
        raise UserError(f"{path.name}: its parameters cannot be read ({shown(str(error), 300)}).") from error
    model.notebook = path.stem
    return model


def _annotation(line: ParameterLine) -> Any:
    if not line.annotation:
        return type(line.default) if line.default is not None else Any
    return type_of(line.annotation, line.name)
