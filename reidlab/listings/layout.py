"""Paragraphs and lists of terms for a terminal of some width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

__all__ = ["definitions", "lines", "wrapped"]

SHORTEST = 8  # characters of a meaning below which a list has the terms alone
MEANING = 36  # characters below which a meaning is no longer written beside its term


def wrapped(text: str, width: int | None = None, indent: str = "") -> str:
    """Write a paragraph in lines of at most `width` characters; None keeps it on one line."""
    line = indent + " ".join(text.split())
    return line if width is None else textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False)


def definitions(rows: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """Write terms with their meanings beside them, or below them where the lines are short.

    Args:
        rows: (term, meaning); a term keeps its indentation.
        width: of the lines, in characters; None writes each row on one line, which other programs can search.
    """
    column = max((len(term) for term, _ in rows), default=0) + 2
    if width is None or width - column >= MEANING:
        return "\n".join(_beside(term, " ".join(meaning.split()), column, width) for term, meaning in rows)
    parts = [(term, len(term) - len(term.lstrip()) + 4, meaning) for term, meaning in rows]
    return "\n".join(
        "\n".join(filter(None, (term, wrapped(meaning, width, " " * indent)))) for term, indent, meaning in parts
    )


def lines(rows: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """Write a line for each term; what a line of `width` characters cannot hold is left out, and "…" says so."""
    column = max((len(term) for term, _ in rows), default=0) + 2
    found = [_beside(term, " ".join(meaning.split()), column, None) for term, meaning in rows]
    if width is None:
        return "\n".join(found)
    if width - column < SHORTEST:
        return "\n".join(term for term, _ in rows)
    return "\n".join(line if len(line) <= width else f"{line[: width - 1].rstrip()}…" for line in found)


def _beside(term: str, meaning: str, column: int, width: int | None) -> str:
    line = f"{term:<{column}}{meaning}".rstrip()
    if width is None or len(line) <= width:
        return line
    first, *rest = textwrap.wrap(meaning, width - column, break_on_hyphens=False)
    return "\n".join([f"{term:<{column}}{first}", *(" " * column + more for more in rest)])
