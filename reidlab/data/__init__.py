"""Data: image tables, readers, preparation, audit, pixels, samplers. Nothing is imported until asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlab.data.datasets import list_datasets, read
    from reidlab.data.schema import check_table, load_table, save_table, summarise, table_digest

__all__ = ["check_table", "list_datasets", "load_table", "read", "save_table", "summarise", "table_digest"]

_HOMES = {"list_datasets": "datasets", "read": "datasets"}  # the others are in schema


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'schema')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
