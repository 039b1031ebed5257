"""The page of a search in a browser: nothing in it runs, every file is accounted for, it fits a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reidlab.search import SearchResult
from reidlab.workbook.search_page import write_page

HOSTILE = "<img src=x onerror=alert(1)>\"'<script>fired()</script>"


@pytest.fixture
def found(tmp_path: Path) -> SearchResult:
    """Return a search whose names are code, with a hit that is gone."""
    files = [tmp_path / "g" / name for name in (f"{HOSTILE.replace('/', '_')}.png", "b.png", "gone.png")]
    files[0].parent.mkdir()
    for file in files[:2]:
        Image.fromarray(np.full((40, 20, 3), 90, np.uint8)).save(file)
    query = str(files[1])
    rows = [(query, rank + 1, str(file), HOSTILE, HOSTILE, 0.5, 0.25) for rank, file in enumerate(files)]
    names = ["query", "rank", "file", "pid", "camera", "similarity", "probability"]
    skipped = pd.DataFrame([("gallery", f"/{HOSTILE}", HOSTILE)], columns=["side", "file", "reason"])
    return SearchResult(
        pd.DataFrame(rows, columns=names), [query], skipped, 3, {HOSTILE: HOSTILE}, (HOSTILE, "two\x00\ud800")
    )


@pytest.mark.parametrize("dark", [False, True])
def test_names_are_shown_and_not_run(visit: Callable[..., Any], found: SearchResult, dark: bool) -> None:
    seen = visit(write_page(found), dark=dark)
    assert seen.quiet, seen.happened()
    text = seen.page.inner_text("main")
    assert text.count("onerror=alert(1)") >= 6
    assert seen.page.locator(".hits img").count() == 3 and seen.page.locator(".hits .none").count() == 1
    assert seen.page.locator("img[alt^='Rank 1']").evaluate("picture => picture.naturalHeight") == 40


@pytest.mark.parametrize("width", [320, 800, 1600])
def test_it_fits(visit: Callable[..., Any], found: SearchResult, width: int) -> None:
    seen = visit(write_page(found), width=width)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
