"""What a whole page may hold, looked at with another parser than the one that cleaned it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from reidlab.workbook.pages.allowed import ATTRIBUTES, POLICY, TAGS

# What the templates write, besides what cells may hold
FRAME = {"html", "head", "meta", "title", "link", "style", "body", "nav", "header", "main", "footer", "article"}
EVERYWHERE = {*ATTRIBUTES["*"], "rel", "href", "src", "alt", "width", "height"}
MORE = {
    "meta": {"charset", "name", "content", "http-equiv"},
    "html": {"lang"},
    "nav": {"aria-label"},
    "a": {"aria-current"},
    "th": {"scope"},
}
DATA = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]+|data:,")
LINK = re.compile(r"#.*|(https?|mailto):.*|[^:\\/][^:\\]*", re.DOTALL | re.IGNORECASE)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.styles: list[str] = []
        self.metas: list[dict[str, str]] = []
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_style = tag == "style"
        if tag not in TAGS | FRAME:
            self.faults.append(f"<{tag}>")
        allowed = EVERYWHERE | ATTRIBUTES.get(tag, set()) | MORE.get(tag, set())
        for name, value in attrs:
            value = value or ""
            if name not in allowed:
                self.faults.append(f"<{tag} {name}={value[:80]!r}>")
            if name == "src" and not (tag == "img" and DATA.fullmatch(value)):
                self.faults.append(f"<{tag} src={value[:80]!r}>")
            if name == "href" and not (DATA if tag == "link" else LINK).fullmatch(value):
                self.faults.append(f"<{tag} href={value[:80]!r}>")
            if name == "style":
                self.styles.append(value)
        if tag == "meta":
            self.metas.append({name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self.styles.append(data)

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data[:80]!r}-->")

    def unknown_decl(self, data: str) -> None:
        self.faults.append(f"<![{data[:80]!r}]>")


def check_page(path: Path) -> None:
    """Assert that a page holds nothing but what the lists and the templates allow."""
    text = path.read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    page.close()
    assert not page.faults, page.faults[:5]
    policies = [
        meta["content"] for meta in page.metas if meta.get("http-equiv", "").lower() == "content-security-policy"
    ]
    assert policies == [POLICY]
    known = {"content-security-policy", "x-dns-prefetch-control", ""}
    assert {meta.get("http-equiv", "").lower() for meta in page.metas} <= known
    for style in page.styles:
        assert not re.search(
            r"url\s*\(|@import|@font-face|image-set|expression|\\|position:\s*fixed", _ours_left_out(style)
        )


def _ours_left_out(style: str) -> str:
    """Leave out the page's own sheet, which no notebook writes."""
    return "" if style.lstrip().startswith(":root") else style
