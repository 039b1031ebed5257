"""Links of the repository's documents, rewritten to the pages that a document or a notebook becomes on the site."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["outside_code", "relink"]

_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[ ]*$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?P<mark>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
_SOURCE = re.compile(r'(?P<before><img\b[^>]*?\bsrc=")(?P<target>[^"]+)')
_DEFINED = re.compile(r"^\[(?P<text>[^\]]+)\]: (?P<target>\S+)$", re.MULTILINE)


def relink(text: str, source: str, page: str, pages: Mapping[str, str], root: Path) -> str:
    """Return a document whose links lead to pages of the site.

    Args:
        text: Markdown.
        source: the document's path in the repository.
        page: the page that it becomes.
        pages: the page, or the copied file, of each path in the repository that has one.
        root: the repository.

    Raises:
        SystemExit: a link leads to nothing that is there.
    """

    def target(given: str) -> str | None:
        if re.match(r"[a-z]+:|#", given):
            return given
        path, hash_, anchor = given.partition("#")
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if wanted in pages:
            return os.path.relpath(pages[wanted], posixpath.dirname(page) or ".") + hash_ + anchor
        if not (root / wanted).exists():
            raise SystemExit(f"{source}: the link to {given!r} leads nowhere.")
        return None

    def inline(found: re.Match[str]) -> str:
        new = target(found["target"])
        text = _INLINE.sub(inline, found["text"])  # a picture may stand in a link
        return text if new is None else f"{found['mark']}[{text}]({new})"

    def defined(found: re.Match[str]) -> str:
        new = target(found["target"])
        return f"[{found['text']}]: {new or '#'}"

    def picture(found: re.Match[str]) -> str:
        return found["before"] + (target(found["target"]) or found["target"])

    def change(part: str) -> str:
        return _SOURCE.sub(picture, _DEFINED.sub(defined, _INLINE.sub(inline, part)))

    return outside_code(text, change)


def outside_code(text: str, change: object) -> str:
    """Apply a function to the parts of a Markdown text that lie outside its fenced code."""
    assert callable(change)
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(text[end:])])
