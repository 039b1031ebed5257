"""HTML of notebooks, brought down to what is listed in `allowed`: it runs nothing and loads nothing from anywhere.

First what a reader should know about is replaced by a note and drawings become pictures; then nh3, an HTML5 parser with
a list of what may stay, writes the whole anew. What it gives is safe whatever the first step overlooked; the policy in
the page's head (`allowed.POLICY`) forbids browsers the rest once more.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from reidlab.workbook.pages.allowed import ATTRIBUTES, HREF, TAGS, WITH_CONTENT
from reidlab.workbook.pages.safe_css import clean_declarations, clean_sheet
from reidlab.workbook.pages.safe_svg import as_picture, clean_picture, clean_svg

__all__ = ["clean_html", "note_losses", "pictures_for_drawings", "take_styles"]

_LARGEST = 20_000_000  # bytes of a picture's file
_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}
_MISSED = ("audio", "canvas", "embed", "iframe", "math", "object", "svg", "video")
_DRAWING = re.compile(r"<svg\b[^>]*>.*?</svg\s*>", re.DOTALL | re.IGNORECASE)


def clean_html(html: str) -> str:
    """Return a fragment of HTML with nothing but allowed tags, attributes, addresses and styles."""
    import nh3

    return nh3.clean(
        html,
        tags=set(TAGS),
        clean_content_tags=set(WITH_CONTENT),
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"data", "http", "https", "mailto"},
    )


def pictures_for_drawings(html: str) -> str:
    """Return HTML with its inline SVG drawings as pictures; those that are no XML stay, for `clean_html` to drop."""

    def picture(found: re.Match[str]) -> str:
        drawing = found[0] if "xmlns=" in found[0] else re.sub(r"(?i)^<svg", _NAMED, found[0], count=1)
        made = clean_svg(drawing)
        return f'<img alt="Drawing" src="{as_picture(made)}">' if made else found[0]

    return _DRAWING.sub(picture, html)


_NAMED = '<svg xmlns="http://www.w3.org/2000/svg"'


def take_styles(soup: Any, within: str) -> str:
    """Take the style elements out of a parsed page, and return their rules, for elements below `within` alone."""
    sheets = [clean_sheet(tag.string or "", within) for tag in soup.find_all("style")]
    for tag in soup.find_all("style"):
        tag.decompose()
    return "\n".join(filter(None, sheets))


def note_losses(soup: Any, folder: Path) -> None:
    """Replace in a parsed page what will not stay by a note that says so; take in pictures that lie beside it.

    Args:
        soup: the parsed page, changed in place.
        folder: of the notebook: picture files in it or below it become part of the page, others do not.
    """
    for box in soup.find_all("input"):  # of task lists
        box.replace_with(("☑ " if box.has_attr("checked") else "☐ ") if box.get("type") == "checkbox" else "")
    for tag in soup.find_all(_MISSED):
        if not tag.decomposed:
            _note(soup, tag, str(tag.get("src") or tag.get("data") or f"<{tag.name}>"))
    for tag in soup.find_all("img"):
        address = str(tag.get("src") or "")
        picture = clean_picture(address) or _file(address, folder)
        if picture is None:
            _note(soup, tag, address or "a picture without an address")
        else:
            tag["src"] = picture


def _note(soup: Any, tag: Any, what: str) -> None:
    note = soup.new_tag("span", attrs={"class": "note"})
    note.string = f"[not part of the page: {what if len(what) <= 200 else what[:200] + '…'}]"
    tag.replace_with(note)
    tag.decompose()


def _file(address: str, folder: Path) -> str | None:
    """Return a picture file in the folder or below it as a data address; None where there is none, or it is no such."""
    try:
        path = (folder / address).resolve()
        kind = _KINDS.get(path.suffix.lower())
        if not kind or not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        if path.stat().st_size > _LARGEST:
            return None
        return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    except (OSError, ValueError, RuntimeError):  # a name too long, a null character, links in a circle
        return None


def _attribute(tag: str, name: str, value: str) -> str | None:
    """Return the value that an allowed attribute keeps; None takes the attribute away."""
    if name == "style":
        return clean_declarations(value) or None
    if name == "href":
        return value if HREF.fullmatch(value) else None
    if name == "src":
        return clean_picture(value)
    return value
