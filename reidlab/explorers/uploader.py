"""A button by which somebody gives an image file; what is too large is refused in the browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import ipywidgets
import traitlets

from reidlab.explorers.base import resource

__all__ = ["Uploader"]


class Uploader(anywidget.AnyWidget):
    """Asks for one image file; ipywidgets' own control sends files of any size, and servers cut off what is too large.

    Args:
        given: called with the name and the bytes of a file.
        refused: called with the name of a file that is too large, and its size in bytes.
        unread: called with the name of a file that the browser could not read, and why.
        limit: bytes that are sent at most.

    Attributes:
        description: on the button.
        tooltip: of the button.
        disabled: the button does nothing.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)
    tooltip = traitlets.Unicode().tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    limit = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        given: Callable[[str, bytes], Any],
        refused: Callable[[str, int], Any],
        unread: Callable[[str, str], Any],
        *,
        limit: int,
        **traits: Any,
    ) -> None:
        super().__init__(limit=limit, **traits)
        self._listeners: tuple[Callable[..., Any], ...] = (given, refused, unread)
        self.on_msg(self._told)

    @traitlets.default("_esm")
    def _default_esm(self) -> str:
        return resource("uploader.js")

    def _told(self, _: ipywidgets.Widget, content: Any, buffers: Sequence[Any]) -> None:
        """Hand on what the browser sends; what is none of ours does nothing."""
        if not isinstance(content, dict) or not isinstance(content.get("name"), str) or not self._listeners:
            return
        given, refused, unread = self._listeners
        kind, size, why = (content.get(name) for name in ("kind", "size", "why"))
        if kind == "file" and len(buffers) == 1:
            given(content["name"], bytes(buffers[0]))
        elif kind == "large" and type(size) is int:
            refused(content["name"], size)
        elif kind == "unread" and isinstance(why, str):
            unread(content["name"], why)

    def close(self) -> None:
        """Close the widget and let go of whoever listens."""
        self._listeners = ()
        self.on_msg(self._told, remove=True)
        super().close()
