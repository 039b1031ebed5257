"""A small gallery of drawn people, and a model that knows colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn import Colours, draw

from reidlab.devices import ComputePlan, plan
from reidlab.search.memory import Memory


@pytest.fixture
def model() -> Colours:
    return Colours().eval()


@pytest.fixture
def compute() -> ComputePlan:
    return plan("cpu", "float32")


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory("m", tmp_path / "memory")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember files at once that were written just now."""
    monkeypatch.setattr("reidlab.search.embedded.is_settled", lambda path, state, now: True)


@pytest.fixture
def crops(tmp_path: Path) -> Callable[[int, int], Path]:
    """Return a function that draws so many people, so many images of each, as PID_cCAM_N.jpg."""

    def make(people: int, images: int) -> Path:
        for pid in range(people):
            for number in range(images):
                draw(tmp_path / "gallery" / f"{pid:04d}_c{number + 1}_{number}.png", pid, number)
        return tmp_path / "gallery"

    return make
