"""Notebook files: read with everything checked that the workbook relies on, and written whole or not at all."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from reidlab.errors import UserError
from reidlab.failures import explained

__all__ = ["parse_notebook", "read_content", "read_notebook", "write_whole"]

LARGEST = 500_000_000  # bytes; a notebook full of pictures has a few million
DEEPEST = 100  # lists and mappings in each other
_HALF = re.compile("[\ud800-\udfff]")  # of a character, which no file can hold


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook file.

    Raises:
        UserError: as `read_content` and `parse_notebook`.
    """
    return parse_notebook(read_content(path), path.name)


def read_content(path: Path) -> bytes:
    """Return the bytes of a notebook file.

    Raises:
        UserError: it is missing, not a file, far too large or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} cannot be read as a notebook: it is not a file.")
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path.name} cannot be read as a notebook: it has more than {LARGEST:,} bytes.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"There is no notebook {path.name!r} in {path.parent}.") from error
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {explained(error)}") from error


def parse_notebook(content: bytes, name: str) -> NotebookNode:
    """Return the notebook that a file's bytes hold, in format 4: every cell has source, metadata and (code) outputs.

    Raises:
        UserError: it is none; `name` names the file.
    """
    try:
        text = content.decode("utf-8-sig")
        if not text.strip():
            raise UserError(f"{name} cannot be read as a notebook: the file is empty.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ids that are missing or given twice, which are mended
            notebook = nbformat.convert(_checked(nbformat.reader.reads(text)), 4)
            _complete(notebook)
            nbformat.validate(notebook, relax_add_props=True)
    except UserError:
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"{name} cannot be read as a notebook: it is not UTF-8 text ({error.reason}).") from error
    except RecursionError as error:
        raise UserError(f"{name} cannot be read as a notebook: it is nested too deeply.") from error
    except Exception as error:  # nbformat raises a dozen kinds for files that are not notebooks
        raise UserError(f"{name} cannot be read as a notebook: {_reason(error)}.") from error
    return _with_text(notebook, name)


def write_whole(path: Path, text: str) -> None:
    """Write a text file beside and rename it: nobody sees half of it, and a full disk leaves the earlier one.

    Raises:
        UserError: it cannot be written; the message says what to do.
    """
    beside = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_text(text, encoding="utf-8", newline="")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {explained(error)}") from error


def _checked(value: Any, depth: int = 0) -> Any:
    """Return what was read without halves of characters, which no page could hold; refuse what is nested too deeply."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, dict):
        for key in list(value):
            value[_HALF.sub("\ufffd", key)] = _checked(value.pop(key), depth + 1)
    elif isinstance(value, list):
        value[:] = [_checked(item, depth + 1) for item in value]
    return value


def _complete(notebook: NotebookNode) -> None:
    """Add required fields that other programs leave out and that have an obvious value."""
    for cell in notebook.cells:
        cell.setdefault("metadata", NotebookNode())
        if cell.get("cell_type") == "code":
            cell.setdefault("outputs", [])
            cell.setdefault("execution_count", None)
            for output in cell.outputs:
                if output.get("output_type") in ("display_data", "execute_result"):
                    output.setdefault("metadata", NotebookNode())
                if output.get("output_type") == "execute_result":
                    output.setdefault("execution_count", None)


def _with_text(notebook: NotebookNode, name: str) -> NotebookNode:
    """Refuse outputs whose text is none: the schema looks at it only where it allows nothing else."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            for kind, data in output.get("data", {}).items():
                if not isinstance(data, str) and not kind.endswith("json"):
                    raise UserError(
                        f"{name} cannot be read as a notebook: cell {number} has an output of kind {kind!r} that is a "
                        f"{type(data).__name__} instead of text."
                    )
    return notebook


def _reason(error: Exception) -> str:
    place = re.search(r"On instance((?:\[[^\]]*\])+)", str(error))
    said = str(getattr(error, "message", "") or error).partition("\n")[0]
    said = said if len(said) <= 200 else f"{said[:200]}…"
    if isinstance(error, (AttributeError, TypeError, KeyError, AssertionError)):
        return f"it is JSON, but not made as notebooks are ({said or type(error).__name__})"
    return f"{said} (at notebook{place[1]})" if place else said
