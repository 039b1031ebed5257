"""EmbeddingExplorer as Voila shows it: hovering, lasso, colours, identities, hostile names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from explorer_pages import PEOPLE, looked_at, no_name_ran, told

Opening = Callable[..., Any]
CELLS = (
    PEOPLE,
    "from reidlab.explorers import EmbeddingExplorer\nfrom reidlab.retrieval import evaluate",
    "result = evaluate(embeddings.split('query'), embeddings.split('gallery'))",
    "explorer = EmbeddingExplorer(embeddings, result=result)\nexplorer",
)
CHOSEN = "words => document.querySelector('.reid-explorer')?.textContent.includes(words)"


@pytest.fixture(scope="module")
def page(voila_pages: Opening) -> Any:
    pytest.importorskip("jscatter", reason="jupyter-scatter is missing (pip install reidlab[explore])")
    made = voila_pages(CELLS)
    told(made, "PCA, coloured by first image of the query: 36 images")
    made.page.wait_for_selector(".reid-map canvas")
    made.page.wait_for_timeout(1500)  # until WebGL has drawn
    return made


def chosen(page: Any, words: str) -> None:
    page.page.wait_for_function(CHOSEN, arg=words)


@pytest.mark.slow
def test_a_lasso_fills_the_gallery(page: Any) -> None:
    page.page.click("button:has-text('Drag chooses')")
    page.page.wait_for_timeout(500)
    box = page.page.locator(".reid-map canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    far = box["height"] * 0.46
    page.page.mouse.move(x - far, y - far)
    page.page.mouse.down()
    for across, down in ((far, -far), (far, far), (-far, far), (-far, -far * 0.9)):
        page.page.mouse.move(x + across, y + down, steps=12)
    page.page.mouse.up()
    chosen(page, "36 images chosen")
    page.page.wait_for_function("() => document.querySelectorAll('.reid-card:not([hidden])').length === 36")
    page.page.click("button:has-text('Clear')")
    chosen(page, "No image is chosen")


@pytest.mark.slow
def test_hovering_shows_the_image(page: Any) -> None:
    page.page.click("button:has-text('Drag moves')")
    panel = page.page.locator(".reid-detail-panel")
    before = panel.inner_text()
    box = page.page.locator(".reid-map canvas").first.bounding_box()
    for down in range(40, int(box["height"]) - 40, 12):  # over the whole map, until a point is met
        for across in range(-140, 141, 10):
            page.page.mouse.move(box["x"] + box["width"] / 2 + across, box["y"] + down)
        page.page.wait_for_timeout(60)
        if panel.inner_text() != before:
            break
    assert panel.inner_text() != before and panel.locator("img").get_attribute("alt")


@pytest.mark.slow
def test_an_identity_is_chosen_by_its_name_and_stays_chosen(page: Any) -> None:
    field = page.page.get_by_placeholder("choose its images")
    field.fill("<b>4</b>")
    field.press("Enter")
    chosen(page, "4 images chosen")
    for colour in ("camera", "identity", "right or wrong"):
        page.page.locator(".widget-dropdown select").nth(1).select_option(label=colour)
        told(page, f"coloured by {'first image' if colour == 'right or wrong' else colour}")
    page.page.wait_for_timeout(800)
    chosen(page, "4 images chosen")
    field.fill("nobody")
    field.press("Enter")
    page.page.wait_for_selector(".reid-error:has-text('No image on the map is of identity')")
    field.fill("")
    field.press("Enter")
    page.page.locator(".reid-error").wait_for(state="detached")


@pytest.mark.slow
def test_names_stay_text(page: Any) -> None:
    no_name_ran(page)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_every_width(voila: Opening, dark: bool) -> None:
    page = voila(CELLS, dark=dark)
    told(page, "36 images")
    page.page.wait_for_timeout(1500)
    looked_at(page, f"embedding-{'dark' if dark else 'light'}")
