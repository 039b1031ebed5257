"""What plain data is, for `reidlab.documents`: text, finite numbers, true, false, None, lists and mappings, bounded."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from typing import Any

from reidlab.errors import printable, shown

__all__ = [
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_VALUES",
    "Refused",
    "checked",
    "literal",
    "too_deep",
    "unique",
    "whole",
]

MAX_DEPTH = 32  # lists and mappings in each other; recipes have 5
MAX_VALUES = 20_000  # texts, numbers, lists and mappings, those that aliases repeat counted again
MAX_DIGITS = 64  # characters of a number
_BITS = 64  # of a whole number, as NumPy and PyTorch have them


class Refused(Exception):
    """Something that a document may not hold; `reidlab.documents` puts the document's name before it."""


def too_deep() -> str:
    """Return the error for lists and mappings that are nested too deep."""
    return f"lists and mappings are nested more than {MAX_DEPTH} deep; write it flatter."


def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the mapping of these pairs; a name given twice is refused."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise Refused(f"{shown(name)} is given twice in one mapping; keep one of them.")
        made[name] = value
    return made


def whole(digits: str) -> int:
    """Return the whole number of so many digits at most."""
    if len(digits) > MAX_DIGITS:
        raise Refused(f"a number has {len(digits):,} digits; at most {MAX_DIGITS} can be read.")
    return int(digits)


def literal(node: ast.expr) -> Any:
    """Return what a literal of Python stands for; ast.literal_eval makes sets and takes the last of equal names."""
    if isinstance(node, ast.Constant) and not isinstance(node.value, (bytes, complex, type(...))):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [literal(item) for item in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        names = [literal(key) for key in node.keys if key is not None]
        strange = next((name for name in names if not isinstance(name, str)), None)
        if strange is not None or None in names:
            raise Refused(f"{shown(strange)} is a name in a mapping, but names must be text: write it in quotes.")
        return unique(zip(names, map(literal, node.values)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = literal(node.operand)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Set):
        raise Refused("holds a set {...} without names; write a list [...] or a mapping {'name': 'value'}.")
    raise ValueError("only text in quotes, numbers, True, False, None, lists and mappings of them can be read")


def checked(value: Any, place: tuple[str, ...], finite: bool, left: list[int]) -> Any:
    """Return a copy of plain data, or raise `Refused`.

    Args:
        value: what is copied.
        place: names that lead to it.
        finite: refuse NaN and the infinities.
        left: how many values there may still be, counted down in place.
    """
    left[0] -= 1
    if left[0] < 0:
        raise Refused("holds too many values (an alias counts each time it is used); shorten it.")
    if len(place) > MAX_DEPTH:
        raise Refused(too_deep())
    if isinstance(value, str):
        return _text(value, place)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value.bit_length() <= _BITS:
        return value
    if isinstance(value, float) and (math.isfinite(value) or not finite):
        return value
    if isinstance(value, (list, tuple)):
        return [checked(item, (*place, str(index)), finite, left) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        made = {}
        for name, item in value.items():
            if not isinstance(name, str):
                raise Refused(f"{_at(place)}the name {shown(name)} must be text: write it in quotes.")
            made[_text(name, place)] = checked(item, (*place, name), finite, left)
        return made
    if isinstance(value, (int, float)):
        kind = f"a whole number beyond {_BITS} bits" if isinstance(value, int) else f"{value}, not a finite number"
        raise Refused(f"{_at(place)}is {kind}; give another.")
    what = f"holds a {type(value).__name__}, {shown(value)}"
    raise Refused(f"{_at(place)}{what}; text, numbers, true, false, null, lists and mappings of them can be read.")


def _text(text: str, place: tuple[str, ...]) -> str:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Refused(f"{_at(place)}holds a null character or half of a character (a surrogate); remove it.")
    return text


def _at(place: tuple[str, ...]) -> str:
    return f"`{printable('.'.join(place)[:60])}` " if place else ""
