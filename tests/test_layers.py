"""Imports run downwards only, in the order that CONTRIBUTING.md states."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import reidlab

PACKAGE = Path(reidlab.__file__).parent
TEXT = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
# rooms that may not import each other stand side by side: "a, b <- c" means that c may import a and b
ORDER = [
    [room.strip() for room in floor.split(",")]
    for floor in re.search(r"`((?:[\w, ]+ <-\s+)+[\w, ]+)`", TEXT.replace("\n", " "))[1].split("<-")  # type: ignore[index]
]
FLOORS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def rooms() -> set[str]:
    names = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return names - {"__init__", "__main__"}


def imports(file: Path) -> Iterator[str]:
    """Return the rooms that a file imports, inside functions too; not those for type checkers alone."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
                yield child
                yield from walk(child)

    for node in walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "reidlab":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reidlab."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[1] for name in node.names if name.name.startswith("reidlab."))


def test_every_room_has_a_floor() -> None:
    assert set(FLOORS) == rooms()


@pytest.mark.parametrize("room", sorted(rooms()))
def test_imports_run_downwards(room: str) -> None:
    folder = PACKAGE / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{room}.py"]
    upwards = {
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in files
        for name in imports(file)
        if name in FLOORS and name != room and FLOORS[name] >= FLOORS[room]
    }
    assert not upwards
