"""Notebook 21 as `reidlab explore` serves it: every tab in a real browser, and what 500 requeries leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from served import ROOT, Server

from reidlab.cli.explore import write_copy

Opening = Callable[..., Any]
NOTEBOOK = ROOT / "notebooks" / "21_explorer.ipynb"
TABS = ("Rankings", "Images", "Triplets", "Trainings", "Embeddings", "Attention", "Two models")
SHOWN = ".reid-tabs > .widget-tab-contents > :not(.lm-mod-hidden)"
REQUERIES = 500
GROWTH = 24 * 2**20  # bytes that the kernel may have grown by after them; 2 MiB were measured

CELLS = (
    f"import gc, json, sys, pathlib, tempfile\nsys.path.insert(0, {str(ROOT / 'tests' / 'explorers')!r})\n"
    "import ipywidgets, psutil\nfrom explorer_cases import pictures, embedded\n"
    "from reidlab.explorers import RetrievalExplorer\n"
    "query, gallery = embedded(pictures(pathlib.Path(tempfile.mkdtemp()), people=8, images=12))",
    "explorer = RetrievalExplorer(query, gallery)\nexplorer",
    "button, label, clicks = ipywidgets.Button(description='count'), ipywidgets.Label(), []\n"
    "label.add_class('counted')\n"
    "def count(_):\n    clicks.append(1)\n    gc.collect()\n"
    "    label.value = json.dumps({'clicks': len(clicks), 'rss': psutil.Process().memory_info().rss,"
    " 'widgets': len(ipywidgets.widgets.widget._instances)})\n"
    "button.on_click(count)\nipywidgets.VBox([button, label])",
)


@pytest.fixture(scope="module")
def page(voila_pages: Opening, voila_server: Server) -> Any:
    """Return the page of notebook 21 with the model that comes with the package."""
    folder = voila_server.folder.parent / "copy"
    folder.mkdir()
    return voila_pages(write_copy(NOTEBOOK, {"model": "small"}, folder), height=1400)


def turn(page: Any, title: str) -> Any:
    """Click a tab and return the explorer in it."""
    page.click(f'.reid-tabs .lm-TabBar-tabLabel:text-is("{title}")')
    shown = page.locator(f"{SHOWN} .reid-explorer")
    shown.wait_for()
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("title", TABS)
def test_every_tab_is_made_and_says_what_it_shows(page: Any, title: str) -> None:
    shown = turn(page.page, title)
    shown.locator(".reid-message", has_text=" ").wait_for()
    assert not page.page.locator(f"{SHOWN} .reid-error").count()
    assert page.page.locator(f".reid-tabs .lm-TabBar-tab.lm-mod-current:has-text('{title}')").count() == 1
    page.shot(f"explorer-{title.split()[-1].lower()}", whole=False)
    assert page.quiet, page.happened()


@pytest.mark.slow
def test_the_queries_that_one_model_wins(page: Any) -> None:
    shown = turn(page.page, "Two models")
    choice, message = shown.locator("select").first, shown.locator(".reid-message")
    words = choice.locator("option").nth(1).text_content().replace("\xa0", " ")  # ipywidgets keeps spaces so
    count = int(words.rpartition("(")[2].rstrip(")"))
    assert words.startswith("histogram wins") and count > 1
    choice.select_option(index=1)
    cards = shown.locator(".reid-strip .reid-card:not([hidden])")
    page.page.wait_for_function(
        "([where, count]) => [...document.querySelectorAll(where)].filter(e => !e.hidden).length === count",
        arg=[f"{SHOWN} .reid-strip .reid-card", min(count, 24)],
    )
    keys = [cards.nth(at).get_attribute("data-key")[1:] for at in (0, 1)]
    message.filter(has_text=f"Query {keys[0]}: AP of small -").wait_for()
    shown.locator("button:has-text('Next')").click()
    message.filter(has_text=f"Query {keys[1]}: AP of small -").wait_for()
    cards.first.click()
    message.filter(has_text=f"Query {keys[0]}:").wait_for()
    page.page.keyboard.press("End")
    page.page.keyboard.press("Enter")
    message.filter(has_text=f"Query {keys[0]}:").wait_for(state="hidden")
    assert shown.locator(".reid-grid-host:not(.reid-strip)").count() == 2


@pytest.mark.slow
def test_without_a_training_its_tab_says_how_to_make_one(page: Any) -> None:
    shown = turn(page.page, "Trainings")
    assert "reidlab run 03" in (shown.locator(".reid-message").text_content() or "")


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 800, 1600])
def test_it_fits(page: Any, width: int) -> None:
    page.page.set_viewport_size({"width": width, "height": 1400})
    for title in TABS:
        turn(page.page, title)
        assert page.widest() <= width, title
        page.page.evaluate("document.querySelector('.reid-tabs').scrollIntoView()")
        page.shot(f"explorer-{title.split()[-1].lower()}-{width}", whole=False)


@pytest.mark.slow
def test_500_requeries_leave_memory_and_widgets_as_they_were(voila: Opening) -> None:
    seen = voila(CELLS)
    grid = ".reid-retrieval .reid-grid-host:not(.reid-strip)"

    def requery(times: int) -> None:
        """Click on the third image of the list, again and again, each time once the last click has come back."""
        seen.page.evaluate(
            """async ([grid, times]) => {
                const wait = () => new Promise(done => setTimeout(done, 2));
                for (let at = 0; at < times; at++) {
                    const cards = document.querySelectorAll(grid + ' .reid-card');
                    const status = document.querySelector('.reid-retrieval .reid-message');
                    const key = cards[0].dataset.key;
                    const next = [...cards].slice(1 + at % 7).find(card => card.dataset.key !== key);
                    next.click();
                    const end = performance.now() + 20000;
                    while (document.querySelector(grid + ' .reid-card').dataset.key === key) {
                        if (performance.now() > end) throw Error(`no answer to click ${at}`);
                        await wait();
                    }
                }
            }""",
            [grid, times],
        )

    def counted(clicks: int) -> dict[str, int]:
        seen.page.click("button:has-text('count')")
        seen.page.locator(".counted", has_text=f'"clicks": {clicks},').wait_for()
        return dict(json.loads(seen.page.locator(".counted").text_content()))

    seen.page.wait_for_selector(f"{grid} .reid-card")
    requery(50)  # caches fill
    first = counted(1)
    requery(REQUERIES)
    last = counted(2)
    assert last["widgets"] <= first["widgets"]
    assert last["rss"] - first["rss"] < GROWTH, f"{(last['rss'] - first['rss']) / 2**20:.0f} MiB more"
