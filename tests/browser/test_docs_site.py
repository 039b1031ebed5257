"""The documentation site: built from the repository, walked link by link, and read in a browser without a network."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from reidlab.listings import KINDS
from reidlab.registry import DATASETS

ROOT = Path(__file__).resolve().parents[2]
RELATED = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
SHEET = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site without executing notebooks; a warning of mkdocs, a broken link among them, ends it."""
    folder = tmp_path_factory.mktemp("docs")
    words = [sys.executable, "docs/site/make_site.py", "--unexecuted"]
    words += ["--output", str(folder / "site"), "--pages", str(folder / "pages")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


class Read(HTMLParser):
    """What a page links to, shows, loads and can be linked at; BeautifulSoup would take minutes for the whole site."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self._in_style = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given["href"]] if tag in ("a", "link") and "href" in given else []
        self.links += [given["src"]] if "src" in given else []
        loads = "src" in given or "data" in given or RELATED & set(given.get("rel", "").split())
        self.loaded += [each for each in (given.get("src"), given.get("data"), given.get("href")) if each and loads]
        self.loaded += addresses(given.get("style", ""))
        self._in_style = tag == "style"

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.loaded += addresses(data)


@cache
def read(page: Path) -> Read:
    return Read(page)


def parsed(page: Path) -> Any:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def broken(page: Path, site: Path) -> Iterator[str]:
    """Yield what a page links to or shows that is not there."""
    for given in read(page).links:
        parts = urlsplit(given)
        if not given or parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        target = target / "index.html" if target.is_dir() else target
        anchor = unquote(parts.fragment) if target.suffix == ".html" else ""
        if not target.is_file() or not target.is_relative_to(site):
            yield f"{page.relative_to(site)}: {given}"
        elif anchor and not anchor.startswith("__") and anchor not in read(target).anchors:
            yield f"{page.relative_to(site)}: {given} (no such anchor)"


def loaded(page: Path) -> list[str]:
    """Return the addresses that a page loads from somewhere else."""
    return [f"{page.name}: {address}" for address in read(page).loaded if urlsplit(address).netloc]


def addresses(css: str) -> list[str]:
    return [a or b for a, b in SHEET.findall(css)]


def test_no_link_is_broken(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 200
    assert [line for page in pages if page.name != "404.html" for line in broken(page, site)] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    assert [line for page in site.rglob("*.html") for line in loaded(page)] == []
    used = [address for sheet in site.rglob("*.css") for address in addresses(sheet.read_text(encoding="utf-8"))]
    assert [address for address in used if urlsplit(address).netloc] == []


def test_what_is_broken_or_loaded_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<link rel=stylesheet href=//cdn.test/x.css><a href=gone.html>x</a><a href=#no>x</a><a id=yes href=#yes>x</a>"
        "<script src=https://cdn.test/x.js></script><p style='background: url(https://cdn.test/x.png)'>x</p>"
    )
    assert list(broken(page, tmp_path)) == ["page.html: gone.html", "page.html: #no (no such anchor)"]
    assert [line.rpartition("/")[2] for line in loaded(page)] == ["x.css", "x.js", "x.png"]


def test_everything_that_is_chosen_by_name_has_a_page(site: Path) -> None:
    for kind, names in {**{kind: KINDS[kind].read() for kind in KINDS}, "datasets": DATASETS}.items():
        index = parsed(site / "by_name" / kind / "index.html").get_text()
        for name in names:
            assert (site / "by_name" / kind / f"{name}.html").is_file(), (kind, name)
            assert name in index, (kind, name)


@pytest.mark.parametrize(
    ("package", "name", "home"),
    [
        ("reidlab.search", "search", "reidlab.search.searching.search"),
        ("reidlab.models", "load_model", "reidlab.models.saved.load_model"),
        ("reidlab.data", "read", "reidlab.data.datasets.read"),
    ],
)
def test_names_that_are_imported_when_asked_for_are_documented(site: Path, package: str, name: str, home: str) -> None:
    page = parsed(site / "api" / f"{package.removeprefix('reidlab.')}.html")
    heading = page.find(id=home)
    assert heading is not None and name in heading.get_text()
    function = importlib.import_module(home.rpartition(".")[0]).__dict__[name]
    assert function.__doc__.split("\n")[0].split("`")[0].strip() in page.get_text()


def test_every_public_name_is_documented(site: Path) -> None:
    missing = []
    for page in (site / "api").glob("*.html"):
        if page.name == "index.html":
            continue
        module = importlib.import_module(f"reidlab.{page.stem}")
        listed = {code.get_text() for code in parsed(page).select("table a code")}
        missing += [f"{module.__name__}.{name}" for name in module.__all__ if name not in listed]
    assert missing == []


def test_search_knows_pages_of_all_kinds(site: Path) -> None:
    texts = {each["location"] for each in json.loads((site / "search" / "search_index.json").read_text())["docs"]}
    for page in (
        "by_name/losses/triplet.html",
        "by_name/recipes/sbs_r50.html",
        "notebooks/03_training.html",
        "guide.html",
    ):
        assert page in texts
    assert "api/retrieval.html#reidlab.retrieval.scoring.evaluate" in texts or any("evaluate" in each for each in texts)


class Reader:
    """A page of the site in the browser, opened as a file; every request that leaves the machine is recorded."""

    def __init__(self, browser: Any, width: int, dark: bool) -> None:
        scheme = "dark" if dark else "light"
        self.context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # a machine may have much else to do
        self.away: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            self.away.append(request.url)


@pytest.mark.parametrize(("width", "dark"), [(400, True), (800, False), (1600, True)])
def test_pages_fit_and_ask_nobody(site: Path, browser: Any, width: int, dark: bool) -> None:
    reader = Reader(browser, width, dark)
    try:
        for name in (
            "index",
            "guide",
            "coming_from",
            "by_name/losses/triplet",
            "api/retrieval",
            "notebooks/03_training",
        ):
            reader.page.goto((site / f"{name}.html").as_uri())
            wide = reader.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} is {wide} pixels wider than a window of {width}"
        ground = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
        channels = [int(value) for value in re.findall(r"\d+", ground)[:3]]
        assert (max(channels) < 80) == dark
        assert reader.away == [] and reader.errors == []
    finally:
        reader.context.close()


def test_search_works_from_files(site: Path, browser: Any) -> None:
    reader = Reader(browser, 1200, False)
    try:
        reader.page.goto((site / "index.html").as_uri())
        reader.page.click("input[name=query]")
        reader.page.keyboard.type("k_reciprocal")
        hit = reader.page.locator(".md-search-result__link[href*='rerankings/k_reciprocal']").first
        hit.wait_for()
        hit.click()
        reader.page.wait_for_url("**/rerankings/k_reciprocal.html*")
        assert reader.page.locator("h1").inner_text().startswith("k_reciprocal")
        assert reader.away == [] and reader.errors == []
    finally:
        reader.context.close()
