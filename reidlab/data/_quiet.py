"""Pillow without its warnings, also in many threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_pillow"]


class _Shared:
    """Warnings are caught for the whole process, so threads that decode at once share one catch."""

    lock = threading.Lock()
    inside = 0
    catch: warnings.catch_warnings[None] | None = None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings about odd metadata and large images, which are checked here."""
    with _Shared.lock:
        if _Shared.inside == 0:
            _Shared.catch = warnings.catch_warnings()
            _Shared.catch.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _Shared.inside += 1
    try:
        yield
    finally:
        with _Shared.lock:
            _Shared.inside -= 1
            if _Shared.inside == 0 and _Shared.catch is not None:
                _Shared.catch.__exit__(None, None, None)
