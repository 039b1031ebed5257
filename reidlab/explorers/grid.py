"""A grid of pictures that are sent when they come into view; keyboard, signs beside colours, light and dark.

The browser asks for pictures by custom messages and gets them as binary buffers. It writes all text by `textContent`
and `setAttribute`, so that no name is ever read as HTML (`grid.js`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import anywidget
import ipywidgets
import traitlets

from reidlab.explorers.base import resource
from reidlab.explorers.pictures import Picture

__all__ = ["MOST", "SIGNS", "Grid", "item"]

MOST = 200  # items at once
AHEAD = 24  # pictures that are sent with new items, before the browser asks for them
AT_ONCE = 64  # pictures in one message
SIGNS = ("", "right", "wrong", "ignored", "query")


def item(key: str, caption: str = "", detail: str = "", sign: str = "", alt: str = "") -> dict[str, str]:
    """Return what a grid shows of one picture.

    Args:
        key: names the picture; the same key always means the same picture, for browsers keep it.
        caption: the first line below.
        detail: smaller lines below it.
        sign: "right", "wrong", "ignored", "query" or "".
        alt: what the picture shows, for those who do not see it; by default the caption.
    """
    if sign not in SIGNS:
        raise ValueError(f"sign={sign!r} is not one of {SIGNS}")
    return {"key": key, "caption": caption, "detail": detail, "sign": sign, "alt": alt or caption}


class Grid(anywidget.AnyWidget):
    """A list of pictures of which one can be chosen.

    Args:
        picture: gives the picture of a key; it must not raise for a key that is shown.
        traits: label, columns, size.

    Attributes:
        items: what is shown (see `item`); set them by `show`.
        selected: number of the chosen item, -1 for none.
        columns: pictures in a row where the page is wide enough; 0 as many as fit.
        label: what the list is, for readers of the screen.
        size: height of a picture in CSS pixels.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    items = traitlets.List(traitlets.Dict()).tag(sync=True)
    selected = traitlets.Int(-1).tag(sync=True)
    columns = traitlets.Int(0, min=0, max=50).tag(sync=True)
    label = traitlets.Unicode("Images").tag(sync=True)
    size = traitlets.Int(128, min=16, max=1024).tag(sync=True)

    def __init__(self, picture: Callable[[str], Picture], **traits: Any) -> None:
        super().__init__(**traits)
        self._picture = picture
        self._handlers: list[Callable[[str], Any]] = []
        self.add_class("reid-grid-host")
        self.on_msg(self._answer)

    @traitlets.default("_esm")
    def _default_esm(self) -> str:
        return resource("grid.js")

    @traitlets.default("_css")
    def _default_css(self) -> str:
        return resource("grid.css")

    @property
    def keys_shown(self) -> list[str]:
        """Return the keys of all items, in their order."""
        return [each["key"] for each in self.items]

    def show(self, items: Sequence[dict[str, str]], selected: int = -1) -> None:
        """Show other items, at most `MOST`, and send the pictures of the first of them along."""
        items = list(items)[:MOST]
        with self.hold_sync():
            self.items, self.selected = items, selected if selected < len(items) else -1
        self.send_pictures([each["key"] for each in items[:AHEAD]])

    def send_pictures(self, keys: Iterable[Any]) -> None:
        """Send the browser the pictures of these keys, as far as they are shown; at most `AT_ONCE` of them."""
        known = set(self.keys_shown)
        chosen = [key for key in dict.fromkeys(k for k in keys if isinstance(k, str)) if key in known][:AT_ONCE]
        if chosen:
            found = [self._picture(key) for key in chosen]
            content = {"kind": "pictures", "keys": chosen, "reasons": [each.reason for each in found]}
            self.send(content, [each.data for each in found])

    def on_choose(self, handler: Callable[[str], Any]) -> None:
        """Call `handler` with the key when an item is chosen, by click, Enter or `choose`."""
        self._handlers.append(handler)

    def choose(self, key: str) -> None:
        """Choose an item, as a click does; a key that is not shown (any more) does nothing."""
        if key in self.keys_shown:
            self.selected = self.keys_shown.index(key)
            for handler in self._handlers:
                handler(key)

    def picture(self, key: str) -> Picture:
        """Return the picture of a key."""
        return self._picture(key)

    def _answer(self, _: ipywidgets.Widget, content: Any, buffers: Any) -> None:
        """Do what the browser asks for; what is none of ours does nothing."""
        if not isinstance(content, dict):
            return
        if content.get("kind") == "pictures" and isinstance(content.get("keys"), list):
            self.send_pictures(content["keys"])
        elif content.get("kind") == "choose" and isinstance(content.get("key"), str):
            self.choose(content["key"])

    def close(self) -> None:
        """Close the widget and let go of whoever listens."""
        self._handlers.clear()
        self.on_msg(self._answer, remove=True)
        super().close()
