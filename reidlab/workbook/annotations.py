"""Types of parameters as notebooks write them, read from a fixed table: nothing of a notebook is evaluated."""

from __future__ import annotations

import ast
from typing import Any, Literal, Union

from reidlab.errors import UserError, shown

__all__ = ["check_plain", "type_of"]

NAMES: dict[str, Any] = {t.__name__: t for t in (str, int, float, bool, list, tuple, dict)}
ALLOWED = f"{', '.join(NAMES)}, Literal and None"
_LONGEST = 2000  # characters
_DEEPEST = 20  # lists and mappings in each other


def type_of(annotation: str, name: str) -> Any:
    """Return the type that an annotation means: names of a table, `|`, `list[...]`, `Literal[...]`.

    Args:
        annotation: as the parameters cell has it, such as "list[int] | None".
        name: of the parameter, for the message.

    Raises:
        UserError: it is made of anything else.
    """
    try:
        if len(annotation) > _LONGEST:
            raise ValueError
        return _type(ast.parse(annotation, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UserError(
            f"Parameter {name!r}: the annotation {shown(annotation, 200)} is not made of {ALLOWED}."
        ) from error


def _type(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.Name):
        return _named(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[_type(node.left), _type(node.right)]  # noqa: UP007 - the parts are known only now
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _filled(node.value.id, inside)
    raise ValueError(ast.dump(node))


def _named(name: str) -> Any:
    if name not in NAMES:
        raise ValueError(name)
    return NAMES[name]


def _filled(name: str, inside: list[ast.expr]) -> Any:
    if name == "Literal" and inside:
        return Literal[tuple(_choice(node) for node in inside)]
    if name == "list" and len(inside) == 1:
        return list[_type(inside[0])]  # type: ignore[misc]
    if name == "dict" and len(inside) == 2 and inside[0].__class__ is ast.Name:
        return dict[_type(inside[0]), _type(inside[1])]  # type: ignore[misc]
    if name == "tuple" and len(inside) == 2 and isinstance(inside[1], ast.Constant) and inside[1].value is ...:
        return tuple[_type(inside[0]), ...]  # type: ignore[misc]
    if name == "tuple" and inside:
        return tuple[tuple(_type(node) for node in inside)]  # type: ignore[misc]
    raise ValueError(name)


def _choice(node: ast.expr) -> str | int | bool | None:
    value = ast.literal_eval(node)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise ValueError(value)


def check_plain(value: Any, depth: int = 0) -> None:
    """Refuse a default that notebook metadata cannot hold: sets, bytes, complex numbers, names that are not text.

    Raises:
        ValueError: it is no text, number, true, false, None, list, tuple or mapping from text.
    """
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, (list, tuple)):
        for item in value:
            check_plain(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the name {shown(key)} is no text")
            check_plain(item, depth + 1)
    elif not (value is None or isinstance(value, (str, int, float))):
        raise ValueError(f"{shown(value)} is a {type(value).__name__}")
    elif isinstance(value, int) and value.bit_length() > 64:
        raise ValueError("a whole number beyond 64 bits")
