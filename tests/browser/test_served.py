"""The harness itself: what a page of Voila or JupyterLab did is seen, and nothing of a server is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from served import Server

Opening = Callable[..., Any]
CELLS = (
    "# A page",
    "import os\nimport ipywidgets as w",
    "button, label = w.Button(description='press'), w.Label('not yet')\n"
    "button.on_click(lambda _: setattr(label, 'value', f'pressed in {os.getpid()}'))\n"
    "w.VBox([button, label])",
)


def pressed(page: Any) -> int:
    """Press the button and return the process of the kernel, which the label names."""
    page.click("button:has-text('press')")
    found = page.wait_for_selector(".widget-label:has-text('pressed in')")
    return int(found.text_content().split()[-1])


def test_a_click_reaches_the_kernel_and_comes_back(voila: Opening) -> None:
    seen = voila(CELLS)
    assert psutil.pid_exists(pressed(seen.page))
    assert seen.quiet, seen.happened()
    assert seen.shot("harness").stat().st_size > 1000


def test_what_a_page_does_is_recorded(voila: Opening) -> None:
    seen = voila(["# x", "1 + 1"])
    for code in (
        "fetch('https://far.test/x').catch(() => 0)",
        "console.error('a word')",
        "setTimeout(() => { throw Error('thrown') }, 0)",
    ):
        seen.page.evaluate(f"() => {{ {code} }}")
        seen.page.wait_for_timeout(100)
    # the page's own policy refuses what goes to another host
    assert not seen.requests and any("far.test" in text and "Content Security Policy" in text for text in seen.console)
    assert "a word" in seen.console and any("thrown" in text for text in seen.errors)
    seen.forget()


def test_without_the_token_nothing_is_given_out(voila_server: Server, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"{voila_server.address}/voila/render/{voila_server.place(CELLS)}")
    assert "login" in page.url
    assert page.locator("#token_input").is_visible() and not page.locator("#rendered_cells").count()
    page.close()


def test_a_page_that_is_left_ends_its_kernel(browser: Any, voila_server: Server) -> None:
    page = browser.new_page()  # not recorded: playwright would abort the page's last request
    page.goto(voila_server.url(voila_server.place(CELLS)))
    process = psutil.Process(pressed(page))
    page.goto("about:blank")
    process.wait(timeout=30)
    page.close()


def test_a_closed_server_leaves_no_kernel(browser: Any, tmp_path: Path, open_pages: Opening) -> None:
    server = Server(tmp_path)
    with open_pages(browser, server) as go:
        process = psutil.Process(pressed(go(CELLS).page))
        server.close()
        process.wait(timeout=30)
    assert not psutil.pid_exists(server.process.pid)


def test_jupyterlab_runs_all_cells(lab: Opening) -> None:
    seen = lab(CELLS)
    assert psutil.pid_exists(pressed(seen.page))
    assert seen.page.locator(".jp-CodeCell").count() == 2
    assert not seen.requests and not seen.errors, seen.happened()
    seen.shot("harness-lab")
