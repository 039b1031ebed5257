"""The one place that reads YAML, JSON and Python literals from users: bounded in size, depth and number of values.

Whatever comes out is plain data: text, whole and finite numbers, true or false, None, lists and mappings with text as
their keys, nothing shared between two places. Whatever else a text holds is refused, and what is refused is named.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from reidlab.documents.plain import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    Refused,
    checked,
    literal,
    too_deep,
    unique,
    whole,
)
from reidlab.errors import UserError

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "as_mapping",
    "load_json",
    "load_literal",
    "load_yaml",
    "plain",
    "read_json",
    "read_text",
    "read_yaml",
]

MAX_BYTES = 262_144  # of a document; the recipes that come with reidlab have fewer than 3,000


def read_text(path: Path, what: str, limit: int = MAX_BYTES) -> str:
    """Return the text of a file of at most `limit` bytes.

    Args:
        path: of the file.
        what: names it in messages, such as "-f mine.yaml".
        limit: bytes.

    Raises:
        UserError: it cannot be read, is too large, or is no UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:  # a null character in its name
        raise UserError(f"{what}: cannot be read ({error}).") from error
    if len(content) > limit:
        raise UserError(f"{what}: has more than {limit:,} bytes; is this the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{what}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8."
        ) from error


def read_yaml(path: Path, what: str) -> Any:
    """Return what a YAML file holds, as `load_yaml` does.

    Raises:
        UserError: as `read_text` and `load_yaml`.
    """
    return load_yaml(read_text(path, what), what)


def read_json(path: Path, what: str, *, limit: int = MAX_BYTES, finite: bool = True) -> Any:
    """Return what a JSON file holds, as `load_json` does.

    Raises:
        UserError: as `read_text` and `load_json`.
    """
    return load_json(read_text(path, what, limit), what, limit=limit, finite=finite)


def load_yaml(text: str, what: str) -> Any:
    """Return the plain data that a YAML text stands for.

    Dates stay text, as in YAML 1.2: who writes `name: 2024-05-01` means the text.

    Args:
        text: one document.
        what: names it in messages.

    Raises:
        UserError: no YAML, too large, too deep, too many values once aliases are followed, a name given twice, a
            number that is not finite, or a value that is no plain data (sets, tags).
    """
    from reidlab.documents.yaml_events import load

    return _guarded(lambda: load(text), text, what, "YAML", MAX_BYTES)


def load_json(text: str, what: str, *, limit: int = MAX_BYTES, finite: bool = True) -> Any:
    """Return the plain data that a JSON text stands for.

    Args:
        text: one document.
        what: names it in messages.
        limit: bytes; above it the number of values is bounded by it alone.
        finite: refuse NaN and the infinities, which JSON does not have but Python writes.

    Raises:
        UserError: as `load_yaml`.
    """

    def load() -> Any:
        return json.loads(text, object_pairs_hook=unique, parse_int=whole)

    return _guarded(load, text, what, "JSON", limit, finite=finite)


def load_literal(text: str, what: str) -> Any:
    """Return the list or mapping that a text writes as Python or as JSON: {'partial': True} or {"partial": true}.

    Raises:
        UserError: as `load_yaml`.
    """

    def load() -> Any:
        with suppress(ValueError):
            return json.loads(text, object_pairs_hook=unique, parse_int=whole)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\\d" is a warning of Python and valid text here
            tree = ast.parse(text, mode="eval").body
        return literal(tree)

    return _guarded(load, text, what, "a list or mapping", MAX_BYTES)


def plain(value: Any, what: str, *, finite: bool = True, most: int = MAX_VALUES) -> Any:
    """Return a copy of plain data: text, numbers, true or false, None, lists (tuples become such) and mappings.

    Args:
        value: what somebody gave.
        what: names it in messages.
        finite: refuse NaN and the infinities.
        most: how many values there may be.

    Raises:
        UserError: it is nested too deep (or holds itself), has too many values or holds something else, which is named.
    """
    try:
        return checked(value, (), finite, [most])
    except Refused as refused:
        raise UserError(f"{what}: {refused}") from None


def as_mapping(content: Any, what: str) -> dict[str, Any]:
    """Return the mapping that a document holds; an empty document is an empty one.

    Raises:
        UserError: it holds something else.
    """
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{what}: holds a {type(content).__name__}; expected lines `name: value`.")
    return content


def _guarded(load: Callable[[], Any], text: str, what: str, kind: str, limit: int, *, finite: bool = True) -> Any:
    """Read a text within bounds; every way in which a parser fails becomes one message."""
    if len(text) > limit or len(text.encode("utf-8", "surrogatepass")) > limit:
        raise UserError(f"{what}: has more than {limit:,} bytes.")
    try:
        return plain(load(), what, finite=finite, most=max(MAX_VALUES, limit if limit > MAX_BYTES else 0))
    except Refused as refused:
        raise UserError(f"{what}: {refused}") from None
    except UserError:
        raise
    except (RecursionError, MemoryError):
        raise UserError(f"{what}: {too_deep()}") from None
    except (SyntaxError, ValueError) as error:
        reason = f"{error.msg}" if isinstance(error, SyntaxError) else f"{error}"
        if "Exceeds the limit" in reason:  # of digits that Python turns into a number
            reason = f"a number has too many digits; at most {MAX_DIGITS} can be read."
        raise UserError(f"{what}: is not {kind}: {reason}") from None
