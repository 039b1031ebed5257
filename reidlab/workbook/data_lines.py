"""The data parameters that most notebooks share: declared in `params.DataParams`, and written into the cells."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Literal, get_origin

from nbformat import NotebookNode

from reidlab.params import NOTEBOOKS, DataParams
from reidlab.paths import root
from reidlab.workbook.cells import tags_of

__all__ = ["data_lines", "shares_data_lines", "with_data_lines"]


def data_lines() -> list[str]:
    """Return the lines `name: type = default  # description` of the fields of `DataParams`, in their order."""
    return [
        f"{name}: {_type(field.annotation)} = {_literal(field.get_default(call_default_factory=True))}"
        f"  # {field.description}"
        for name, field in DataParams.model_fields.items()
    ]


def shares_data_lines(path: Path) -> bool:
    """Return whether a file is a notebook of the workbook whose parameters are the data parameters and more."""
    model = NOTEBOOKS.get(path.stem)
    return model is not None and issubclass(model, DataParams) and path.resolve().parent == root() / "notebooks"


def with_data_lines(notebook: NotebookNode) -> NotebookNode:
    """Return a copy whose parameters cell begins with the data parameters as they are declared."""
    changed = copy.deepcopy(notebook)
    for cell in changed.cells:
        if "parameters" in tags_of(cell):
            own = [line for line in cell.source.splitlines() if not _is_data_line(line)]
            cell.source = "\n".join([*data_lines(), *own])
    return changed


def _is_data_line(line: str) -> bool:
    return line.partition(":")[0].strip() in DataParams.model_fields


def _type(annotation: Any) -> str:
    origin = get_origin(annotation) or annotation
    return "str" if origin is Literal else str(origin.__name__)


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
