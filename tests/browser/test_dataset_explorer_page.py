"""The explorer of a data set in a real browser: filters, pages, a large picture, keyboard, hostile names, widths, themes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from served import ROOT

Opening = Callable[..., Any]

CELLS = (
    "# Data set",
    f"import sys, tempfile, pathlib\nsys.path.insert(0, {str(ROOT / 'tests' / 'explorers')!r})\n"
    "from explorer_cases import pictures\nfrom reidlab.explorers import DatasetExplorer\n"
    "from reidlab.data.audit import audit\nfrom reidlab.data.schema import check_table\n"
    "folder = pathlib.Path(tempfile.mkdtemp())\ntable = check_table(pictures(folder, people=20, images=9))\n"
    "_ = pathlib.Path(table['path'][1]).write_bytes(b'no image')",
    "explorer = DatasetExplorer(table, audit=audit(table, workers=0))\nexplorer",
)
HOSTILE = "<img src=x onerror=alert(1)>.jpg"


def told(page: Any, text: str) -> None:
    page.locator(".reid-dataset .reid-status", has_text=text).wait_for()


def cards(page: Any) -> Any:
    return page.locator(".reid-dataset .reid-card:not([hidden])")


@pytest.fixture(scope="module")
def shared(voila_pages: Opening) -> Any:
    return voila_pages(CELLS)


def test_filters_and_pages(shared: Any) -> None:
    page = shared.page
    told(page, "180 of 180 images chosen; images 1 to 60.")
    page.click("button:has-text('Page ▶')")
    told(page, "images 61 to 120")
    selects = page.locator(".reid-dataset select")
    selects.nth(0).select_option(label="query (20)")
    told(page, "20 of 180 images chosen; images 1 to 20.")
    selects.nth(0).select_option(label="all")
    selects.nth(1).select_option(label="2 (60)")
    told(page, "60 of 180")
    page.get_by_placeholder("all").fill("7")
    page.keyboard.press("Enter")
    told(page, "3 of 180")
    page.get_by_placeholder("all").fill("")
    page.keyboard.press("Enter")
    selects.nth(1).select_option(label="all")
    selects.nth(2).select_option(label="unreadable (1)")
    told(page, "1 of 180")
    broken = page.locator(".reid-dataset .reid-broken")
    broken.wait_for()
    assert "cannot identify it" in broken.text_content()
    selects.nth(2).select_option(label="all")
    told(page, "180 of 180")


def test_a_click_or_enter_shows_it_large_with_all_columns(shared: Any) -> None:
    page = shared.page
    told(page, "180 of 180")
    cards(page).first.click()
    large = page.locator(".reid-large")
    large.locator("td", has_text=HOSTILE).wait_for()  # the whole path, as text
    assert large.locator("img").get_attribute("alt") == HOSTILE
    assert not page.locator("img[src='x']").count()
    page.keyboard.press("Enter")
    large.locator("img").wait_for(state="detached")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    large.locator("em", has_text="cannot identify it").wait_for()
    page.keyboard.press("Enter")
    large.locator("img").wait_for(state="detached")


def test_only_what_comes_into_view_is_sent(voila: Opening) -> None:
    seen = voila(
        [*CELLS[:2], "explorer = DatasetExplorer(table)\nexplorer.state.page_size = 200\nexplorer"], height=700
    )
    page = seen.page
    told(page, "images 1 to 180")
    page.wait_for_function("() => document.querySelector('.reid-card img').src.startsWith('blob:')")
    page.wait_for_timeout(500)
    there = "e => e.filter(i => i.src.startsWith('blob:')).length"
    images = page.locator(".reid-dataset .reid-card img")
    begun = images.evaluate_all(there)
    assert 0 < begun < 120
    cards(page).last.scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('.reid-card img')].at(-1).src.startsWith('blob:')")
    assert images.evaluate_all(there) > begun


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_narrow_and_wide(voila: Opening, dark: bool) -> None:
    seen = voila(CELLS, width=1600, dark=dark)
    told(seen.page, "180 of 180")
    cards(seen.page).nth(3).click()
    seen.page.locator(".reid-large img").wait_for()
    for width in (1600, 800, 320):
        seen.page.set_viewport_size({"width": width, "height": 900})
        seen.page.wait_for_timeout(300)
        assert seen.widest() <= width
        seen.shot(f"dataset-{width}-{'dark' if dark else 'light'}")
