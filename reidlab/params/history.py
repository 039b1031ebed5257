"""What the cells of a running notebook assigned, read back from the kernel's history (`In`)."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

__all__ = ["assigned_names"]


def assigned_names(history: Sequence[str] | None, fields: Iterable[str]) -> set[str]:
    """Find the names that the latest parameters cell and the latest injected cell of a history assign."""
    names: set[str] = set()
    seen: set[bool] = set()
    for source in reversed(history or []):
        injected = source.lstrip().startswith("# Parameters")  # papermill's own first line
        found = _literal_names(source, annotated=not injected)
        if injected not in seen and found and (injected or found & set(fields)):
            seen.add(injected)
            names |= found
    return names


def _literal_names(source: str, annotated: bool) -> set[str]:
    """Return the names that a cell assigns if it only assigns plain values (with annotations)."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for node in body:
        if isinstance(node, ast.Assign) and not annotated:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            return set()
        if not isinstance(target, ast.Name) or not _is_plain(value):
            return set()
        names.add(target.id)
    return names


def _is_plain(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError):
        return ast.unparse(value) in {
            "float('nan')",
            "float('inf')",
            "float('-inf')",
        }  # as papermill writes them
    return True
