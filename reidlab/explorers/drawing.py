"""A figure in a widget: its PNG and its alt text, replaced without flicker (`drawing.js`)."""

from __future__ import annotations

import base64
import io

import anywidget
import traitlets
from matplotlib.figure import Figure

from reidlab.explorers.base import resource
from reidlab.explorers.twins import text
from reidlab.plots.style import describe

__all__ = ["Drawing"]

DPI = 100


class Drawing(anywidget.AnyWidget):
    """A picture of a figure, as wide as the figure at most and never wider than the page.

    Attributes:
        png: the picture.
        alt: what it shows, for those who do not see it.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode(".reid-drawing { display: block; max-width: 100%; height: auto; }").tag(sync=True)
    png = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)

    def __init__(self, figure: Figure | None = None) -> None:
        super().__init__()
        self.add_class("reid-drawing-host")
        if figure is not None:
            self.show(figure)

    @traitlets.default("_esm")
    def _default_esm(self) -> str:
        return resource("drawing.js")

    def show(self, figure: Figure) -> None:
        """Show a figure; its alt text is that of `plots.style.set_alt`."""
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=DPI)
        with self.hold_sync():
            self.alt, self.png = describe(figure), out.getvalue()

    def clear(self) -> None:
        """Show nothing."""
        with self.hold_sync():
            self.alt, self.png = "", b""

    def twin(self) -> str:
        """Return the picture as HTML; "" where there is none."""
        if not self.png:
            return ""
        data = base64.b64encode(self.png).decode("ascii")
        return f'<img src="data:image/png;base64,{data}" alt="{text(self.alt)}" style="max-width:100%">'
