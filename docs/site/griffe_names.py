"""An extension of griffe, which mkdocstrings reads docstrings with: "a, b: both" says the same of a and of b."""

from __future__ import annotations

import re
from typing import Any

import griffe

__all__ = ["SharedNames", "split_names"]

_SECTION = re.compile(r"^(?:Args|Attributes):$")
_SHARED = re.compile(r"^ {4}(\w+(?:, \w+)+): (.*)$")


def split_names(text: str) -> str:
    """Return a docstring in which each argument and attribute has an entry of its own."""
    made: list[str] = []
    lines = text.split("\n")
    number, inside = 0, False
    while number < len(lines):
        line = lines[number]
        number += 1
        inside = bool(_SECTION.match(line)) or (inside and (line.startswith(" ") or not line))
        shared = _SHARED.match(line) if inside else None
        if shared is None:
            made.append(line)
            continue
        more = []
        while number < len(lines) and lines[number].startswith("     "):
            more.append(lines[number])
            number += 1
        for name in shared[1].split(", "):
            made += [f"    {name}: {shared[2]}", *more]
    return "\n".join(made)


class SharedNames(griffe.Extension):
    """Splits entries of several names in every docstring that is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = split_names(obj.docstring.value)
