"""Reading what the command line gives and printing tables."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidlab.documents import as_mapping, read_yaml
from reidlab.errors import UserError, printable, shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "TYPER",
    "Json",
    "as_json",
    "frame",
    "join_pairs",
    "read_file",
    "read_pairs",
    "short",
    "table",
    "terminal_width",
]

# what all groups of commands share; untyped, for typer's options are of many types
TYPER: Any = {
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]


def join_pairs(words: Sequence[str]) -> list[str]:
    """Write papermill's `-p name value` as `-p name=value`, which the option parser can read."""
    joined: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        joined.append(word)
        if word == "--":
            return joined + rest
        if word in ("-p", "--param") and len(rest) >= 2 and re.fullmatch(r"[\w-]+", rest[0]):
            joined.append(f"{rest.pop(0)}={rest.pop(0)}")
    return joined


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Read `name=value` texts.

    Raises:
        UserError: one is not such a pair, or a name comes twice.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise UserError(f"-p {shown(pair)}: give a name and a value, `-p epochs 5` or `-p epochs=5`.")
        if name in values:
            raise UserError(f"-p {name}: given twice, {shown(values[name])} and {shown(value)}.")
        values[name] = value
    return values


def read_file(file: Path | None) -> dict[str, Any]:
    """Read a YAML file of parameters; nothing without a file.

    Raises:
        UserError: it cannot be read or holds no mapping.
    """
    if file is None:
        return {}
    return as_mapping(read_yaml(file, f"-f {file}"), f"-f {file}")


def short(path: Path) -> str:
    """Write a path relative to the working directory where it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def frame(title: str, data: pd.DataFrame) -> None:
    """Print a data frame as a table."""
    rows = [[str(index), *(str(value) for value in row)] for index, row in zip(data.index, data.to_numpy())]
    table(title, [str(data.index.name or ""), *map(str, data.columns)], rows)


def as_json(value: Any) -> None:
    """Print plain data as JSON; NaN, which JSON lacks, as null."""
    print(json.dumps(_finite(value), ensure_ascii=True, indent=1, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    value = value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, as wide as the terminal, or wide where the output goes to a file."""
    if not rows:
        print(f"{title}: none")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=200)
    console.print(made)


def terminal_width() -> int | None:
    """Return the width of the terminal in characters; None where the output goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
