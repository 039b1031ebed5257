"""Static HTML of explorers: no script, pictures inside, every text escaped, nothing but what pages may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from reidlab.errors import printable
from reidlab.explorers.pictures import Picture, data_uri
from reidlab.plots.style import MARKS

__all__ = ["facts", "framed", "gallery", "legend", "text"]

LIMIT = 24  # pictures of a gallery: notebooks should stay small


def text(value: Any) -> str:
    """Return anything as escaped text; control characters and changes of direction are written as escapes."""
    return escape(printable(str(value)))


def framed(title: str, summary: str, body: str, *, error: str = "") -> str:
    """Return a whole twin: title, what is shown in a sentence, an error where there is one, the body (HTML)."""
    red = f'<p style="color:#C62828"><strong>⚠ {text(error)}</strong></p>' if error else ""
    return f'<div class="reid-twin"><p><strong>{text(title)}</strong><br>{text(summary)}</p>{red}{body}</div>'


def gallery(
    items: Sequence[Mapping[str, str]], picture: Callable[[str], Picture], *, limit: int = LIMIT, height: int = 128
) -> str:
    """Return pictures side by side, as a grid shows them; beyond `limit` a line says how many are left out.

    Args:
        items: as in `grid.item`.
        picture: gives the picture of a key.
        limit: pictures at most.
        height: of the pictures, in CSS pixels.
    """
    cards = "".join(_card(each, picture(each["key"]), height) for each in items[:limit])
    left = f"<p><small>and {len(items) - limit:,} more</small></p>" if len(items) > limit else ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:6px">{cards}</div>{left}' if cards else "<p>No images.</p>"


def _card(item: Mapping[str, str], picture: Picture, height: int) -> str:
    mark = MARKS.get(item.get("sign", ""))
    border = f"3px {mark.line} {mark.colour}" if mark else "1px solid #9E9E9E"
    sign = f'<span aria-label="{mark.name}">{mark.sign}</span> ' if mark else ""
    lines = [*item.get("detail", "").split("\n"), picture.reason]
    small = "".join(f"<br><small>{text(line)}</small>" for line in lines if line)
    alt = ", ".join(filter(None, [mark.name if mark else "", item.get("alt", ""), picture.reason]))
    return (
        f'<figure style="margin:0;padding:2px;width:{max(84, height * 3 // 4)}px;border:{border};text-align:center;'
        f'overflow-wrap:break-word"><img src="{data_uri(picture.data)}" alt="{text(alt)}" '
        f'style="height:{height}px;max-width:100%;display:inline-block">'
        f"<figcaption>{sign}{text(item.get('caption', ''))}{small}</figcaption></figure>"
    )


def legend(*names: str) -> str:
    """Return what the signs mean, by default of right, wrong and ignored images."""
    marks = [MARKS[name] for name in names or ("right", "wrong", "ignored")]
    return "<p><small>" + " · ".join(f"{mark.sign} {mark.name} ({mark.line})" for mark in marks) + "</small></p>"


def facts(values: Mapping[str, Any]) -> str:
    """Return a table of two columns: names and values, all as text."""
    rows = "".join(
        f'<tr><th style="text-align:left;overflow-wrap:normal">{text(name)}</th>'
        f'<td style="text-align:left;overflow-wrap:anywhere">{text(value)}</td></tr>'
        for name, value in values.items()
    )
    return f"<table>{rows}</table>"
