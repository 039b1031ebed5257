"""Options and explanations of what is registered, read from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

__all__ = ["Option", "explain", "options_of", "written"]

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Examples?):$", re.MULTILINE)
_ARGUMENT = re.compile(r"^ {4}(\w+(?:, \w+)*): ")


class Option(NamedTuple):
    """An option of something registered; the default as YAML writes it, "" where it must be given."""

    name: str
    default: str
    meaning: str


def explain(source: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Take a docstring apart: the text before its sections, and what it says of each argument or attribute.

    Of a class, what its bases say of theirs counts too.
    """
    while isinstance(source, partial):
        source = source.func
    family = inspect.getmro(source) if isinstance(source, type) else ()
    meanings: dict[str, str] = {}
    for each in (*reversed(family), source):
        if each.__module__.startswith("reidlab."):
            meanings |= _meanings(inspect.cleandoc(each.__doc__ or ""))
    return _SECTION.split(inspect.cleandoc(source.__doc__ or ""))[0].strip(), meanings


def _meanings(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    _, *parts = _SECTION.split(text)
    for title, section in reversed(list(zip(parts[::2], parts[1::2]))):
        names: list[str] = []
        for line in section.splitlines() if title in ("Args", "Attributes") else ():
            start = _ARGUMENT.match(line)
            names = start.group(1).split(", ") if start else names
            for name in names:
                found[name] = line[start.end() :] if start else f"{found[name]} {line.strip()}".strip()
    return found


def written(value: Any) -> str:
    """Write a value as YAML, which recipes are: true, null, [0.02, 0.4], 1.0e-06."""
    import yaml

    value = float(f"{value:.6g}") if isinstance(value, float) else value
    value = list(value) if isinstance(value, tuple) else value
    try:
        return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    except yaml.YAMLError:
        return str(value)


def options_of(parameters: Mapping[str, inspect.Parameter], meanings: Mapping[str, str]) -> list[Option]:
    """Return parameters with their defaults as YAML and their meanings."""
    return [
        Option(name, "" if each.default is each.empty else written(each.default), meanings.get(name, ""))
        for name, each in parameters.items()
    ]
