"""Saving without waiting for the disk."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Flush nothing to the disk, which takes minutes where it is busy; tell what was to be flushed."""
    nodes: list[tuple[int, int]] = []

    def note(handle: int) -> None:
        about = os.fstat(handle)
        nodes.append((about.st_dev, about.st_ino))

    monkeypatch.setattr(os, "fsync", note)
    return nodes
