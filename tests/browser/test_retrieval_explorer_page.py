"""The explorer of rankings in a real browser: click, filter, keyboard, upload, errors, hostile names, widths, themes."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import ROOT

from reidlab.explorers.uploads import LARGEST

Opening = Callable[..., Any]

MAKE = (
    f"import sys, tempfile, pathlib\nsys.path.insert(0, {str(ROOT / 'tests' / 'explorers')!r})\n"
    "from explorer_cases import pictures, embedded\n"
    "import numpy as np\nfrom reidlab.explorers import RetrievalExplorer\n"
    "folder = pathlib.Path(tempfile.mkdtemp())\n"
    "query, gallery = embedded(pictures(folder, people=8, images=9))"
)
CELLS = (
    "# Rankings",
    MAKE,
    "class Model:\n    def __call__(self, pixels):\n        return np.full(16, pixels.mean() + 1.0)",
    "explorer = RetrievalExplorer(query, gallery, model=Model())\nexplorer",
)
GRID = ".reid-retrieval .reid-grid-host:not(.reid-strip)"
STRIP = ".reid-retrieval .reid-strip"
STATUS = ".reid-retrieval .reid-status"
LOADED = "el => [...el.querySelectorAll('.reid-card:not([hidden]) img')].every(i => i.src.startsWith('blob:') && i.naturalWidth > 0)"


def told(page: Any, text: str) -> None:
    """Wait until the status line says something."""
    page.locator(STATUS, has_text=text).wait_for()


def cards(page: Any, where: str = GRID) -> Any:
    return page.locator(f"{where} .reid-card:not([hidden])")


def loaded(page: Any, where: str = GRID) -> None:
    """Wait until all pictures in view are there."""
    page.wait_for_function(f"() => ({LOADED})(document.querySelector({where!r}))")


@pytest.fixture(scope="module")
def shared(voila_pages: Opening) -> Any:
    """One page for the tests that leave it as they found it, or do not care."""
    return voila_pages(CELLS)


def test_a_result_becomes_the_query_and_back_returns(shared: Any) -> None:
    page = shared.page
    told(page, "Query 0 (id 0, cam 0)")
    loaded(page)
    key = cards(page).nth(3).get_attribute("data-key")
    cards(page).nth(3).click()
    told(page, f"Gallery image {key[1:]} as query")
    assert cards(page).first.get_attribute("data-key") == key
    loaded(page)
    page.click("button:has-text('Back')")
    told(page, "Query 0 (id 0, cam 0)")
    assert cards(page).first.get_attribute("data-key") == "q0"


def test_the_strip_and_its_filters(shared: Any) -> None:
    page = shared.page
    cards(page, STRIP).nth(2).click()
    told(page, "Query 2 (")
    page.locator(".reid-retrieval select").first.select_option(label="worst first")
    told(page, "Query")
    page.get_by_placeholder("all").fill("5")
    page.keyboard.press("Enter")
    told(page, "Query 5 (id 5, cam 0)")
    page.wait_for_function(f"() => document.querySelectorAll({STRIP!r} + ' .reid-card:not([hidden])').length === 1")
    page.get_by_placeholder("all").fill("nobody")
    page.keyboard.press("Enter")
    told(page, "No query is left")
    assert page.locator(f"{STRIP} .reid-empty").is_visible()
    page.get_by_placeholder("all").fill("")
    page.keyboard.press("Enter")
    page.locator(".reid-retrieval select").first.select_option(label="as in the table")
    told(page, "Query 0 (")


def test_camera_ignored_and_reranking(shared: Any) -> None:
    page = shared.page
    selects = page.locator(".reid-retrieval select")
    page.get_by_label("show ignored").uncheck()
    page.wait_for_function(f"() => !document.querySelector({GRID!r} + ' .reid-is-ignored:not([hidden])')")
    selects.nth(1).select_option(label="1")
    page.wait_for_function(
        f"() => [...document.querySelectorAll({GRID!r} + ' .reid-card:not([hidden]) .reid-words')].slice(1)"
        ".every(e => /cam\\s1$/.test(e.textContent))"
    )
    selects.nth(2).select_option(label="k-reciprocal")
    told(page, "Re-ranked: k_reciprocal.")
    selects.nth(2).select_option(label="as embedded")
    selects.nth(1).select_option(label="all")
    page.get_by_label("show ignored").check()
    page.wait_for_function(f"() => document.querySelector({GRID!r} + ' .reid-is-ignored:not([hidden])')")


def test_the_keyboard_does_what_the_mouse_does(shared: Any) -> None:
    page = shared.page
    cards(page, STRIP).first.click()
    told(page, "Query 0 (")
    cards(page).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    focused = "() => document.activeElement.getAttribute('data-number')"
    assert page.evaluate(focused) == "2"
    page.keyboard.press("ArrowDown")
    assert int(page.evaluate(focused)) > 3
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == "2"
    page.keyboard.press("End")
    assert int(page.evaluate(focused)) == cards(page).count() - 1
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == "0"
    page.keyboard.press("ArrowRight")
    key = cards(page).nth(1).get_attribute("data-key")
    page.keyboard.press("Enter")
    told(page, f"Gallery image {key[1:]} as query")
    assert page.evaluate(focused) == "1"  # the place stays, so that one can go on
    assert page.locator(f"{GRID} [tabindex='0']").count() == 1
    page.click("button:has-text('Back')")
    told(page, "Query 0 (")


def upload(page: Any, file: dict[str, Any]) -> None:
    with page.expect_file_chooser() as chooser:
        page.click(".reid-retrieval button:has-text('Own image')")
    chooser.value.set_files(file)


def test_an_upload_is_ranked_and_a_bad_one_is_told(shared: Any) -> None:
    page = shared.page
    out = io.BytesIO()
    Image.new("RGB", (30, 60), (200, 30, 30)).save(out, "PNG")

    give = functools.partial(upload, page)
    give({"name": "<b onclick=alert(1)>.png", "mimeType": "image/png", "buffer": out.getvalue()})
    told(page, "Uploaded image")
    loaded(page)
    assert "<b onclick=alert(1)>.png" in cards(page).first.get_attribute("aria-label")
    assert not page.locator(f"{GRID} .reid-is-right:not([hidden]), {GRID} .reid-is-wrong:not([hidden])").count()
    give({"name": "<i>text.txt", "mimeType": "text/plain", "buffer": b"no image"})
    error = page.locator(f"{STATUS} .reid-error")
    error.wait_for()
    assert "'<i>text.txt' cannot be used" in error.text_content()
    give({"name": "large.png", "mimeType": "image/png", "buffer": bytes(12 * 2**20)})
    page.locator(f"{STATUS} .reid-error", has_text="'large.png' has 12,582,912 bytes").wait_for()
    page.click("button:has-text('Back')")
    told(page, "Query")
    assert not error.count()


def test_a_hostile_name_is_shown_and_not_run(shared: Any) -> None:
    page = shared.page
    cards(page, STRIP).first.click()
    told(page, "Query 0 (")
    assert "<img src=x onerror=alert(1)>.jpg" in cards(page).first.get_attribute("aria-label")
    assert "<img src=x onerror=alert(1)>.jpg" in cards(page).first.locator("img").get_attribute("alt")
    assert not page.locator("img[src='x']").count()


def test_signs_stand_beside_colours_and_pictures_have_words(shared: Any) -> None:
    page = shared.page
    for name, sign in (("right", "✓"), ("wrong", "✗"), ("ignored", "–"), ("query", "?")):
        first = page.locator(f"{GRID} .reid-is-{name}:not([hidden])").first
        assert first.locator(".reid-sign").text_content() == sign
        assert first.get_attribute("aria-label").startswith(name)
    assert page.locator(f"{GRID} [role=listbox]").get_attribute("aria-label")
    assert all(page.locator(f"{GRID} .reid-card:not([hidden]) img").evaluate_all("e => e.map(i => i.alt)"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_narrow_and_wide(voila: Opening, dark: bool) -> None:
    seen = voila(CELLS, width=1600, dark=dark)
    told(seen.page, "Query 0 (")
    for width in (1600, 800, 320):
        seen.page.set_viewport_size({"width": width, "height": 900})
        seen.page.wait_for_timeout(150)
        loaded(seen.page, STRIP)
        assert seen.widest() <= width
        seen.shot(f"retrieval-{width}-{'dark' if dark else 'light'}")


def test_a_broken_file_and_an_error_are_seen(voila: Opening) -> None:
    broken = "import os\n[pathlib.Path(p).write_bytes(b'no image') for p in gallery.table['path'][:3]]\n"
    seen = voila([*CELLS[:3], f"{broken}explorer = RetrievalExplorer(query, gallery)\nexplorer"])
    page = seen.page
    told(page, "Query 0 (")
    card = page.locator(f"{GRID} .reid-broken").first
    card.wait_for()
    assert "cannot identify it" in card.text_content()
    assert page.locator(
        ".reid-retrieval .widget-upload[disabled], .reid-retrieval button[disabled]:has-text('Own image')"
    ).count()


def test_in_jupyterlab_arrows_stay_in_the_grid(lab: Opening) -> None:
    """Outside an input JupyterLab takes arrows for a way to the next cell, and Enter for editing."""
    seen = lab(CELLS)
    page = seen.page
    told(page, "Query 0 (id 0, cam 0)")
    page.wait_for_function(
        f"() => document.querySelector({GRID!r} + ' img').naturalWidth > 1"
    )  # others are out of view
    cards(page).first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("() => document.activeElement.getAttribute('data-number')") == "3"
    key = cards(page).nth(3).get_attribute("data-key")
    page.keyboard.press("Enter")
    told(page, f"Gallery image {key[1:]} as query")
    seen.shot("retrieval-lab")
    # the largest file that is allowed passes JupyterLab's server, and one that is larger is told without being sent
    out = io.BytesIO()
    Image.frombytes("RGB", (1650, 1650), np.random.default_rng(0).bytes(1650 * 1650 * 3)).save(out, "PNG")
    assert 0.96 * LARGEST < len(out.getvalue()) <= LARGEST
    upload(page, {"name": "noise.png", "mimeType": "image/png", "buffer": out.getvalue()})
    told(page, "Uploaded image")
    upload(page, {"name": "large.png", "mimeType": "image/png", "buffer": bytes(12 * 2**20)})
    page.locator(f"{STATUS} .reid-error", has_text="'large.png' has 12,582,912 bytes").wait_for()
