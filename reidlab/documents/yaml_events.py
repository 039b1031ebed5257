"""YAML within bounds, for `reidlab.documents`: events are counted before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from yaml import events as ev

from reidlab.documents.plain import MAX_DEPTH, MAX_DIGITS, MAX_VALUES, Refused, too_deep
from reidlab.errors import shown

__all__ = ["load"]

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Knows no dates, which YAML 1.2 leaves text, and no merging of mappings."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in entries if tag not in (f"{_TAG}timestamp", f"{_TAG}value")]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load(text: str) -> Any:
    """Return what one document holds: text, numbers, booleans, None, lists and mappings, nothing shared.

    Raises:
        ValueError: it is no YAML.
        Refused: about what it may not hold.
    """
    try:
        _measure(_Loader(text))
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _value(loader, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{error.problem or error.context}{where}.") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from None


def _events(loader: _Loader) -> Iterator[Any]:
    while loader.check_event():
        yield loader.get_event()


def _measure(loader: _Loader) -> None:
    """Count values as if aliases were written out; a bomb of aliases or brackets is refused before it is made."""
    sizes: dict[str, int] = {}  # of what anchors stand for
    open_: list[tuple[str | None, int]] = []  # anchor, values before it
    total = 0
    for event in _events(loader):
        if isinstance(event, ev.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise Refused(f"the alias *{event.anchor} is used inside its own anchor; write it out.")
            total += sizes.get(str(event.anchor), 1)  # of an unknown one the loader speaks
        elif isinstance(event, (ev.ScalarEvent, ev.CollectionStartEvent)):
            total += 1
            if isinstance(event, ev.CollectionStartEvent):
                open_.append((event.anchor, total - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, ev.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor:
                sizes[anchor] = total - before
        if len(open_) > MAX_DEPTH:
            raise Refused(too_deep())
        if total > MAX_VALUES:
            raise Refused(f"holds more than {MAX_VALUES:,} values (an alias counts each time it is used); shorten it.")


def _value(loader: _Loader, node: Any) -> Any:
    kind = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_value(loader, item) for item in node.value]
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _mapping(loader, node)
    if isinstance(node, yaml.ScalarNode) and kind in ("str", "null", "bool", "int", "float"):
        return _scalar(loader, node, kind)
    tag = f"!!{kind}" if kind != node.tag else node.tag
    raise Refused(f"line {node.start_mark.line + 1}: the tag {tag[:60]!r} cannot be read; write plain YAML without it.")


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    """Make a mapping; `<<` takes over the names of other mappings, below those that stand in it."""
    lines: dict[str, int] = {}
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, item in node.value:
        line = key.start_mark.line + 1
        if key.tag == f"{_TAG}merge":
            others = _value(loader, item)
            for other in others if isinstance(others, list) else [others]:
                if not isinstance(other, dict):
                    raise Refused(f"line {line}: `<<` takes mappings only.")
                merged = other | merged
            continue
        name = _value(loader, key)
        if not isinstance(name, str):
            written = f"{shown(key.value)}, read as {name}," if isinstance(key, yaml.ScalarNode) else "of a value"
            raise Refused(f"line {line}: the name {written} must be text: write it in quotes.")
        if name in lines:
            raise Refused(f"{shown(name)} is given twice, in lines {lines[name]} and {line}; keep one of them.")
        lines[name] = line
        own[name] = _value(loader, item)
    return merged | own


def _scalar(loader: _Loader, node: yaml.ScalarNode, kind: str) -> Any:
    if kind in ("int", "float") and len(node.value) > MAX_DIGITS:
        line = node.start_mark.line + 1
        raise Refused(f"line {line}: a number has {len(node.value):,} digits; at most {MAX_DIGITS} can be read.")
    try:
        return getattr(loader, f"construct_yaml_{kind}")(node)
    except (ValueError, KeyError, OverflowError):
        line = node.start_mark.line + 1
        raise Refused(f"line {line}: {shown(node.value)} cannot be read as {kind}; write text in quotes.") from None
