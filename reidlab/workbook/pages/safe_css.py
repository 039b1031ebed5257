"""Styles of notebooks' outputs, brought down to what a page may hold: listed properties, no address, no at-rule."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reidlab.workbook.pages.allowed import FUNCTIONS, PROPERTIES

__all__ = ["clean_declarations", "clean_sheet", "clean_value"]

_PLAIN = {"dimension", "hash", "ident", "number", "percentage", "string", "whitespace"}
_SIGNS = set(",/+-*")
_DEPTH = 6  # of functions in functions
_ODD = re.compile(r"[<>\\{}@;\x00-\x08\x0e-\x1f]")  # what ends a rule or a style element, or hides a name
_SELECTOR = re.compile(r"[\w\s.#:>+~*()\[\]=\"'|^$-]+")
_FRAGMENT = re.compile(r"#[\w.:-]+")
_LONGEST = 2_000_000  # characters of a sheet: tinycss2 reads about a million a second


def clean_declarations(text: str, *, drawing: bool = False) -> str:
    """Return the declarations of a style attribute that may stay: "color: red; width: 10em".

    Args:
        text: as written in the attribute.
        drawing: of an SVG drawing, where `url(#name)` means a part of the drawing itself.
    """
    import tinycss2

    if len(text) > _LONGEST:
        return ""
    return _written(tinycss2.parse_blocks_contents(text, skip_comments=True, skip_whitespace=True), drawing)


def clean_sheet(text: str, within: str = "") -> str:
    """Return the rules of a style sheet that may stay.

    Args:
        text: the sheet.
        within: a selector put before each of the sheet's, so that its rules reach nothing else; empty: of a drawing.
    """
    import tinycss2

    if len(text) > _LONGEST:
        return ""
    rules = []
    for rule in tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True):
        if rule.type != "qualified-rule":
            continue  # at-rules, which load or animate, and what does not parse
        selector = _selector(rule.prelude, within)
        inside = tinycss2.parse_blocks_contents(rule.content, skip_comments=True, skip_whitespace=True)
        declarations = _written(inside, drawing=not within)
        if selector and declarations:
            rules.append(f"{selector} {{{declarations}}}")
    return "\n".join(rules)


def clean_value(text: str, *, drawing: bool = False) -> str | None:
    """Return a style property's value that stands in an attribute, such as fill; None where it may not stay."""
    import tinycss2

    tokens = tinycss2.parse_component_value_list(text[:10_000], skip_comments=True)
    return _value(tokens, drawing)


def _written(nodes: Iterable[Any], drawing: bool) -> str:
    kept = []
    for node in nodes:
        if node.type != "declaration" or node.lower_name not in PROPERTIES:
            continue
        value = _value(node.value, drawing)
        if value:
            kept.append(f"{node.lower_name}: {value}{' !important' * node.important}")
    return "; ".join(kept)


def _value(tokens: list[Any], drawing: bool) -> str | None:
    import tinycss2

    if not all(_harmless(token, drawing) for token in tokens):
        return None
    text = tinycss2.serialize(tokens).strip()
    return text if text and not _ODD.search(text) else None


def _harmless(token: Any, drawing: bool, depth: int = 0) -> bool:
    if depth > _DEPTH:
        return False
    if token.type == "function":
        inside = token.arguments if token.lower_name in FUNCTIONS else None
    elif token.type == "() block":
        inside = token.content
    else:
        if token.type == "url":
            return drawing and bool(_FRAGMENT.fullmatch(token.value))
        return token.type in _PLAIN or (token.type == "literal" and token.value in _SIGNS)
    return inside is not None and all(_harmless(part, drawing, depth + 1) for part in inside)


def _selector(prelude: list[Any], within: str) -> str:
    """Return the selectors of a rule with `within` before each; an empty text where one of them is odd."""
    import tinycss2

    parts: list[list[Any]] = [[]]
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        elif token.type in ("{} block", "error", "at-keyword", "url", "function") and not (
            token.type == "function" and token.lower_name in ("nth-child", "nth-of-type", "not")
        ):
            return ""
        else:
            parts[-1].append(token)
    try:
        texts = [" ".join(tinycss2.serialize(part).split()) for part in parts]
    except RecursionError:
        return ""
    if not all(_SELECTOR.fullmatch(text) for text in texts):
        return ""
    return ", ".join(f"{within} {text}".strip() for text in texts)
