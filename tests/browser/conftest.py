"""Pages in a real browser, Debian's Chromium without a network: what runs, what is asked for, what is said.

`visit(path)` opens a page of a folder and gives a `Visit`; `voila(notebook)` and `lab(notebook)` open a notebook that is
executed and give a `Served` (served.py). Nothing leaves the machine: every request beyond it is recorded and aborted, and
no name is resolved. Without Chromium the tests are skipped, and say so; where CI is "true" they fail.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from served import Lab, Served, Server

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
NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # should a request get past the recorder
ACT_SECONDS = 60  # of whatever a test waits for
RENDER_SECONDS = 240  # of a notebook, on a machine that does other things as well

# the kernel counts the cells that it ran; a star is a cell that waits
LAST_RAN = """
    () => { const all = [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].map(e => e.textContent);
    return all.length && /\\d/.test(all[all.length - 1]) && !all.some(text => text.includes('*')); }
"""

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
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


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
        made.folder = path.parent
        _go_to(made, f"{ORIGIN}/{path.name.replace('%', '%25').replace('?', '%3F').replace('#', '%23')}")
        made.settle()
        if touch:
            made.touch()
        return made

    yield go
    for context in contexts:
        context.close()


def _go_to(made: Visit, address: str) -> None:
    """Open an address; where the machine is busy, a page that was left a moment ago may still want to go elsewhere."""
    from playwright.sync_api import Error

    for _ in range(5):
        made.forget()
        try:
            made.page.goto(address)
            return
        except Error as error:
            if "interrupted by another navigation" not in str(error):
                raise
            made.settle(500)
    pytest.fail(f"{address} could not be opened: other navigations came between, five times")


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


@pytest.fixture(scope="module")
def voila_server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return Voila on the notebooks of a folder, one for all tests of a module."""
    pytest.importorskip("voila", reason="voila is missing (pip install reidlab[explore]): explorers were not driven")
    yield from _served(Server, tmp_path_factory)


@pytest.fixture(scope="module")
def lab_server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return JupyterLab on the notebooks of a folder, one for all tests of a module."""
    yield from _served(Lab, tmp_path_factory)


def _served(kind: type[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = kind(tmp_path_factory.mktemp("served"))
    try:
        yield server
    finally:
        server.close()


Opening = Callable[..., Served]


@pytest.fixture
def voila(browser: Any, voila_server: Server) -> Iterator[Opening]:
    """Return a function that executes a notebook as a page: `(notebook file or cells, *, width, dark, height)`.

    When the test ends, each page must have raised, printed and asked for nothing; `forget()` where that was the test.
    """
    with opened(browser, voila_server) as go:
        yield go


@pytest.fixture(scope="module")
def voila_pages(browser: Any, voila_server: Server) -> Iterator[Opening]:
    """Return the same for pages that several tests of a module share: fixtures of the module open them."""
    with opened(browser, voila_server) as go:
        yield go


@pytest.fixture
def lab(browser: Any, lab_server: Server) -> Iterator[Opening]:
    """Return a function that opens a notebook in JupyterLab and runs all its cells by the menu."""
    with opened(browser, lab_server) as go:
        yield go


@pytest.fixture
def open_pages() -> Callable[..., Any]:
    """Return `opened`, which test modules cannot import: several folders have a conftest."""
    return opened


@contextlib.contextmanager
def opened(browser: Any, server: Server) -> Iterator[Opening]:
    """Give a function that opens notebooks of a server, and close what it opened."""
    from playwright.sync_api import Error

    contexts, pages = [], []

    def go(
        notebook: Path | Sequence[str], *, width: int = 1000, height: int = 900, dark: bool = False, run: bool = True
    ) -> Served:
        context = browser.new_context(
            color_scheme="dark" if dark else "light", viewport={"width": width, "height": height}
        )
        contexts.append(context)
        made = Served(context, server)
        pages.append(made)
        made.page.set_default_timeout(ACT_SECONDS * 1000)
        made.page.set_default_navigation_timeout(RENDER_SECONDS * 1000)
        name = server.place(notebook)
        if isinstance(server, Lab):
            _run_in_lab(made, server.url(name), run)
        else:
            made.page.goto(server.url(name) + "&theme=dark" * dark, wait_until="commit")
            made.page.wait_for_selector("#rendered_cells", state="visible", timeout=RENDER_SECONDS * 1000)
        return made

    try:
        yield go
        noisy = [made.happened() for made in pages if not made.quiet]
        assert not noisy, "\n".join(noisy)
    finally:
        for context in contexts:
            for page in context.pages:
                with contextlib.suppress(Error):
                    # left, it tells Voila that its kernel can go; playwright, which records requests, would abort that one
                    page.evaluate("() => { window.dispatchEvent(new Event('beforeunload')) }")
                    page.wait_for_timeout(50)
            context.close()


def _run_in_lab(made: Served, address: str, run: bool) -> None:
    """Open a notebook in JupyterLab; run all its cells and wait until none is left to run."""
    page = made.page
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_selector(".jp-StatusBar-Widget >> text=/\\| Idle/")  # before, there is no kernel to run them
    if run:
        page.click('.lm-MenuBar-item:has-text("Run")')
        page.click('.lm-Menu-item[data-command="runmenu:run-all"]')
        page.wait_for_function(LAST_RAN, timeout=RENDER_SECONDS * 1000)
