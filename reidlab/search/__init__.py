"""Search in your own images: files are embedded once and remembered. Nothing is imported until asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlab.search.embedded import EmbeddedFiles, embed_files
    from reidlab.search.files import Found, find_images
    from reidlab.search.pair import Comparison, compare
    from reidlab.search.searching import SearchResult, search

_HOMES = {
    "Comparison": "pair",
    "EmbeddedFiles": "embedded",
    "Found": "files",
    "SearchResult": "searching",
    "compare": "pair",
    "embed_files": "embedded",
    "find_images": "files",
    "search": "searching",
}

__all__ = ["Comparison", "EmbeddedFiles", "Found", "SearchResult", "compare", "embed_files", "find_images", "search"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
