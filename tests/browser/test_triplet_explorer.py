"""TripletExplorer as Voila shows it: keys, controls, hostile names, an error that is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from explorer_pages import PEOPLE, looked_at, no_name_ran, told

Opening = Callable[..., Any]
CELLS = (
    PEOPLE,
    "from reidlab.data.triplets import make_triplets\nfrom reidlab.explorers import TripletExplorer",
    "explorer = TripletExplorer(make_triplets(table), table, embeddings=embeddings)\nexplorer",
)
BROKEN = "explorer.rows = explorer.rows + 1_000"  # rows that no table has


@pytest.fixture(scope="module")
def page(voila_pages: Opening) -> Any:
    made = voila_pages(CELLS)
    told(made, "Triplet 1 of 36")
    return made


@pytest.mark.slow
def test_keys_and_buttons_step(page: Any) -> None:
    page.page.locator(".reid-triplet").click()
    page.page.keyboard.press("ArrowRight")
    told(page, "Triplet 2 of 36")
    page.page.keyboard.press("ArrowRight")  # the focus is where it was, though the picture is another
    told(page, "Triplet 3 of 36")
    page.page.keyboard.press("End")
    told(page, "Triplet 36 of 36")
    page.page.click("button:has-text('Back')")
    told(page, "Triplet 35 of 36")
    page.page.keyboard.press("ArrowLeft")
    told(page, "Triplet 34 of 36")
    field = page.page.locator(".widget-text input")
    field.fill("12")
    field.press("Enter")
    told(page, "Triplet 12 of 36")
    field.press("ArrowLeft")  # moves the cursor of the field alone
    page.page.keyboard.press("Home")
    page.page.locator(".reid-triplet").click()
    page.page.keyboard.press("Home")
    told(page, "Triplet 1 of 36")


@pytest.mark.slow
def test_the_loss_and_the_filter(page: Any) -> None:
    page.page.select_option("select >> nth=0", label="largest loss first")
    page.page.locator("label:has-text('soft margin')").click()
    told(page, "the soft margin")
    page.page.locator("label:has-text('soft margin')").click()
    told(page, "a margin of 0.3")
    page.page.locator("label:has-text('active only')").click()
    told(page, "active. ")
    assert "✗ active" in page.page.inner_text(".reid-triplet")
    page.page.locator("label:has-text('active only')").click()
    page.page.select_option("select >> nth=0", label="as drawn")


@pytest.mark.slow
def test_names_stay_text(page: Any) -> None:
    no_name_ran(page)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_every_width(voila: Opening, dark: bool) -> None:
    page = voila(CELLS, dark=dark)
    told(page, "Triplet 1 of 36")
    looked_at(page, f"triplets-{'dark' if dark else 'light'}")
    pictures = page.page.locator(".reid-triplet img")
    page.page.set_viewport_size({"width": 320, "height": 900})
    page.page.wait_for_timeout(200)
    tops = [pictures.nth(at).bounding_box()["y"] for at in range(3)]
    assert max(tops) - min(tops) < 1  # side by side on the narrowest page


@pytest.mark.slow
def test_what_a_handler_raises_is_seen(voila: Opening) -> None:
    page = voila([*CELLS, BROKEN])
    told(page, "Triplet 1 of 36")
    page.page.click("button:has-text('Next')")
    page.page.wait_for_selector(".reid-error:has-text('IndexError')")
