"""Mark the tests of this folder, and say in the header how long they go on. Helpers are in fuzz_cases.py."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_report_header() -> str:
    """Return which profile runs."""
    from fuzz_cases import PROFILE, SCALE

    return f"fuzz: profile {PROFILE}, {SCALE:g} times the usual examples (tests/fuzz/README.md)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, so that `-m fuzz` and `-m "not fuzz"` choose."""
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.fuzz)
