"""SVG drawings, brought down to shapes and text. A page shows them as pictures, in which browsers run no script."""

from __future__ import annotations

import base64
import binascii
import re
from xml.etree import ElementTree

from reidlab.workbook.pages.allowed import PICTURE, PROPERTIES, SVG_ATTRIBUTES, SVG_TAGS
from reidlab.workbook.pages.safe_css import clean_declarations, clean_sheet, clean_value

__all__ = ["as_picture", "clean_picture", "clean_svg"]

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_FRAGMENT = re.compile(r"#[\w.:-]+")
_PLAIN = re.compile(r"[\w\s.,()#%+:-]*")
_LONGEST = 20_000_000  # characters
_DEEPEST = 100  # elements in elements


def clean_svg(text: str) -> str | None:
    """Return a drawing with nothing but allowed elements, attributes and styles; None where it is no drawing.

    Scripts, handlers, links, animations, foreign content and every address but those of the drawing's own parts and of
    pictures that stand in it are gone.
    """
    if len(text) > _LONGEST or "<!ENTITY" in text:  # entities multiply
        return None
    if "xlink:" in text and "xmlns:xlink" not in text:  # HTML knows the prefix without
        text = re.sub(r"<svg\b", f'<svg xmlns:xlink="{_XLINK}"', text, count=1)
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except (ElementTree.ParseError, ValueError):
        return None
    made = _copy(root, 0)
    if made is None or made.tag != "svg":
        return None
    made.set("xmlns", _SVG)
    return ElementTree.tostring(made, encoding="unicode")


def as_picture(svg: str) -> str:
    """Return the address of a picture that holds the drawing."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8", "replace")).decode()


def clean_picture(address: str) -> str | None:
    """Return a picture's data address that may stay, a drawing's cleaned; None for any other address."""
    if not PICTURE.fullmatch(address):
        return None
    head, _, data = address.partition(",")
    if "svg" not in head:
        return address
    try:
        made = clean_svg(base64.b64decode(data).decode("utf-8"))
    except (UnicodeDecodeError, binascii.Error):
        return None
    return as_picture(made) if made else None


def _copy(element: ElementTree.Element, depth: int) -> ElementTree.Element | None:
    space, _, name = element.tag.removeprefix("{").rpartition("}")
    if space not in ("", _SVG) or name not in SVG_TAGS | {"a"} or depth > _DEEPEST:
        return None
    made = ElementTree.Element(name if name != "a" else "g")  # of a link the shapes stay
    for key, value in element.attrib.items() if name != "a" else ():
        kept = _attribute(name, key, value)
        if kept is not None:
            made.set("href" if key.endswith("}href") else key, kept)
    made.text, made.tail = element.text, element.tail
    if name == "style":
        made.text = clean_sheet(element.text or "")
        return made
    for child in element:
        copied = _copy(child, depth + 1)
        if copied is not None:
            made.append(copied)
    return made


def _attribute(element: str, key: str, value: str) -> str | None:
    if key in ("href", f"{{{_XLINK}}}href"):
        if element == "image":
            return value if PICTURE.fullmatch(value) and "svg" not in value[:20] else None
        return value if _FRAGMENT.fullmatch(value) else None
    if key == "style":
        return clean_declarations(value, drawing=True)
    if key in PROPERTIES and key not in SVG_ATTRIBUTES:
        return clean_value(value, drawing=True)
    return value if key in SVG_ATTRIBUTES and _PLAIN.fullmatch(value) else None
