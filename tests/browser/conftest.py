"""Pages in a real browser, Debian's Chromium without a network: what runs, what is asked for, what is said.

`visit(path)` opens a page of a folder and gives a `Visit`. Nothing leaves the machine: pages come from their folder,
every other request is recorded and aborted, and no name is resolved. Without Chromium the tests are skipped, and say
so; where CI is "true" they fail.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

ORIGIN = "https://page.test"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND"  # should a request get past the recorder

TOUCH = """
    () => { for (const e of document.querySelectorAll('body *')) {
    for (const kind of ['mouseover', 'focus', 'pointerenter', 'keydown'])
        e.dispatchEvent(new Event(kind, {bubbles: true}));
    const link = e.closest('a');
    const leads = link && ['http:', 'https:', 'mailto:'].includes(link.protocol);
    if (leads && !(link.getAttribute('href') || '').startsWith('#')) continue;
    if (e.tagName === 'DETAILS') e.open = true;
    e.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
} }
"""


@dataclass
class Visit:
    """What happened on a page: requests that would have left, dialogs, calls of `fired`, messages, uncaught errors."""

    page: Any
    folder: Path = Path()
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    fired: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether nothing happened at all."""
        return not (self.requests or self.dialogs or self.fired or self.console or self.errors)

    def happened(self) -> dict[str, list[str]]:
        """Return all that happened, for the message of a test that fails."""
        names = ("requests", "dialogs", "fired", "console", "errors")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def forget(self) -> None:
        """Begin anew."""
        for kept in (self.requests, self.dialogs, self.fired, self.console, self.errors):
            kept.clear()

    def touch(self) -> None:
        """Click, hover and focus everything but links that lead to another page, and open what can be opened."""
        from playwright.sync_api import Error

        with contextlib.suppress(Error):  # the page went away: its request says so
            self.page.evaluate(TOUCH)
        self.settle()

    def settle(self, milliseconds: int = 100) -> None:
        """Wait for what a page does of its own accord."""
        self.page.wait_for_timeout(milliseconds)


def chromium() -> str | None:
    """Return the path of Chromium, or None where it is missing."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return a running Chromium; skip without one, fail without one in CI."""
    path = chromium()
    if path is None:
        message = "chromium is missing (Debian: apt-get install chromium): pages were not looked at in a browser"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, NO_NAMES])
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Return a function that opens a page file, in a new window or in that of an earlier visit (`on`)."""
    contexts = []

    def start(dark: bool, width: int) -> Visit:
        context = browser.new_context(
            color_scheme="dark" if dark else "light", viewport={"width": width, "height": 800}, service_workers="block"
        )
        contexts.append(context)
        made = Visit(context.new_page())
        context.route("**/*", lambda route: _answer(route, made))
        context.route_web_socket("**/*", lambda socket: made.requests.append(socket.url))
        context.expose_binding("fired", lambda _, what="": made.fired.append(str(what)))
        context.on("dialog", lambda dialog: (made.dialogs.append(dialog.message), dialog.dismiss()))
        context.on("console", lambda message: made.console.append(message.text[:300]))
        context.on("weberror", lambda error: made.errors.append(str(error.error)[:300]))
        context.on("page", lambda opened: made.requests.append(f"window {opened.url}"))
        return made

    def go(path: Path, *, on: Visit | None = None, dark: bool = False, touch: bool = True, width: int = 1000) -> Visit:
        made = on or start(dark, width)
        made.forget()
        made.folder = path.parent
        made.page.goto(f"{ORIGIN}/{path.name.replace('%', '%25').replace('?', '%3F').replace('#', '%23')}")
        made.settle()
        if touch:
            made.touch()
        return made

    yield go
    for context in contexts:
        context.close()


def _answer(route: Any, made: Visit) -> None:
    """Serve pages of the folder; record and abort the rest."""
    address = urlsplit(route.request.url)
    file = made.folder / unquote(address.path).removeprefix("/")
    is_page = route.request.is_navigation_request() and route.request.frame.parent_frame is None
    if f"{address.scheme}://{address.netloc}" == ORIGIN and is_page and file.parent == made.folder and file.is_file():
        route.fulfill(body=file.read_bytes(), content_type="text/html; charset=utf-8")
        return
    made.requests.append(route.request.url)
    route.abort()
