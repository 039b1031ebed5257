"""The comparison of two runs in a real browser: choice, keyboard, click, widths and themes, hostile names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from explorer_pages import PEOPLE, looked_at, no_name_ran, told

Opening = Callable[..., Any]
CELLS = (
    PEOPLE,
    "from reidlab.explorers import RunComparer\nfrom reidlab.retrieval import evaluate\n"
    "both = [embedded(table, noise=noise) for noise in (2.5, 1.5)]\n"
    "results = [evaluate(each.split('query'), each.split('gallery')) for each in both]\n"
    "explorer = RunComparer(*results, *both, names=('<b>osnet', 'a run with a long name-1a2b3c4d5e6f'))\nexplorer",
)
STRIP = ".reid-comparer .reid-strip .reid-card:not([hidden])"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_queries_that_one_run_wins(voila: Opening, dark: bool) -> None:
    seen = voila(CELLS, width=1600, dark=dark)
    page = seen.page
    told(seen, "points")
    before = page.text_content(".reid-comparer .reid-message")
    cards = page.locator(STRIP)
    assert cards.count() > 3 and page.locator(".reid-comparer img.reid-drawing").get_attribute("alt")
    cards.nth(2).click()
    key = cards.nth(2).get_attribute("data-key")
    told(seen, f"Query {key[1:]}:")
    page.click(".reid-comparer button:has-text('Next')")
    told(seen, f"Query {cards.nth(3).get_attribute('data-key')[1:]}:")
    page.keyboard.press("Home")
    page.wait_for_function(
        "before => document.querySelector('.reid-comparer .reid-message').textContent === before", arg=before
    )
    page.locator(".reid-comparer select").first.select_option(index=2)
    page.wait_for_function(
        "where => [...document.querySelectorAll(where)].every(e => e.textContent.includes('+'))", arg=STRIP
    )
    no_name_ran(seen)
    looked_at(seen, f"comparer-{'dark' if dark else 'light'}")
