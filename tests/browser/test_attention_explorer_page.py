"""AttentionExplorer as Voila shows it: maps, opacity without the kernel, pairs, a method that the model has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from explorer_pages import PEOPLE, looked_at, no_name_ran, told

Opening = Callable[..., Any]
CELLS = (
    PEOPLE,
    "import torch\nfrom reidlab import models\nfrom reidlab.explorers import AttentionExplorer\n_ = torch.manual_seed(0)",
    "model = models.build({'name': 'osnet_x0_25', 'height': 64, 'width': 32}).eval()",
    "explorer = AttentionExplorer(model, table, embeddings=embeddings)\nexplorer",
)
OPACITY = "() => Number(getComputedStyle(document.querySelector('.reid-above')).opacity)"


@pytest.fixture(scope="module")
def page(voila_pages: Opening) -> Any:
    made = voila_pages(CELLS)
    told(made, "activation of ")
    made.page.wait_for_selector(".reid-above")
    return made


@pytest.mark.slow
def test_opacity_is_a_matter_of_the_browser(page: Any) -> None:
    assert page.page.evaluate(OPACITY) == pytest.approx(0.55)
    slider = page.page.get_by_label("How much of the map is seen")
    before = page.page.locator(".reid-above").first.get_attribute("src")
    slider.focus()
    for _ in range(20):
        page.page.keyboard.press("ArrowRight")
    assert page.page.evaluate(OPACITY) == pytest.approx(0.75)
    assert page.page.locator(".reid-above").first.get_attribute("src") == before
    told(page, "activation of ")  # the arrow keys of the slider did not step


@pytest.mark.slow
def test_methods_layers_and_images(page: Any) -> None:
    selects = page.page.locator(".widget-dropdown select")
    selects.nth(0).select_option(label="gradcam")
    told(page, "gradcam of ")
    selects.nth(0).select_option(label="rollout (not of this model)")
    page.page.wait_for_selector(".reid-error:has-text('does not show ReIDModel')")
    selects.nth(0).select_option(label="activation")
    page.page.locator(".reid-error").wait_for(state="detached")
    selects.nth(1).select_option(index=1)
    told(page, "conv1")
    field = page.page.locator(".widget-text input")
    page.page.click("button:has-text('Next')")
    page.page.wait_for_function("() => document.querySelector('.widget-text input').value === '1'")
    page.page.keyboard.press("ArrowLeft")
    page.page.wait_for_function("() => document.querySelector('.widget-text input').value === '0'")
    assert field.input_value() == "0"


@pytest.mark.slow
def test_two_images_are_compared(page: Any) -> None:
    page.page.locator("label:has-text('compare two images')").click()
    told(page, "the maps sum to")
    assert page.page.locator(".reid-above").count() == 2
    card = page.page.locator(".reid-card").nth(3)
    words = card.locator(".reid-words").inner_text()
    card.click()
    page.page.wait_for_function(
        "words => [...document.querySelectorAll('.reid-panel strong')].at(-1).textContent === words", arg=words
    )
    page.page.locator("label:has-text('compare two images')").click()
    told(page, "activation of ")


@pytest.mark.slow
def test_names_stay_text(page: Any) -> None:
    no_name_ran(page)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_every_width(voila: Opening, dark: bool) -> None:
    page = voila(CELLS, dark=dark)
    told(page, "activation of ")
    page.page.wait_for_selector(".reid-above")
    looked_at(page, f"attention-{'dark' if dark else 'light'}")
    page.page.locator("label:has-text('compare two images')").click()
    told(page, "the maps sum to")
    looked_at(page, f"attention-pair-{'dark' if dark else 'light'}")
