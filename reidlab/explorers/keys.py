"""Arrow keys of a whole explorer: left and right step, Home and End go to the ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import ipywidgets
import traitlets

from reidlab.explorers.base import resource

__all__ = ["Keys"]


class Keys(anywidget.AnyWidget):
    """Listens for keys in the explorer that it stands in; draws nothing.

    Args:
        step: called with -1 or 1.
        end: called with whether it is the last.
    """

    _esm = traitlets.Unicode().tag(sync=True)

    def __init__(self, step: Callable[[int], Any], end: Callable[[bool], Any]) -> None:
        super().__init__()
        self._step: Callable[[int], Any] | None = step
        self._end: Callable[[bool], Any] | None = end
        self.on_msg(self._pressed)

    @traitlets.default("_esm")
    def _default_esm(self) -> str:
        return resource("keys.js")

    def _pressed(self, _: ipywidgets.Widget, content: Any, __: Any) -> None:
        """Do what the browser asks for; what is none of ours does nothing."""
        if not isinstance(content, dict) or self._step is None or self._end is None:
            return
        if content.get("kind") == "step" and content.get("by") in (-1, 1):
            self._step(int(content["by"]))
        elif content.get("kind") == "end" and isinstance(content.get("last"), bool):
            self._end(content["last"])

    def close(self) -> None:
        """Close the widget and let go of whoever listens."""
        self._step = self._end = None
        self.on_msg(self._pressed, remove=True)
        super().close()
