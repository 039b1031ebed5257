"""Images with maps over them; how much of a map is seen is chosen in the browser, without the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets
from jaxtyping import UInt8
from PIL import Image

from reidlab.explorers.base import resource
from reidlab.explorers.pictures import data_uri, jpeg_of
from reidlab.explorers.twins import text

__all__ = ["Overlay", "Panel", "panels_html"]

_HEIGHT = 384  # pixels at most


class Panel(NamedTuple):
    """One image.

    Attributes:
        image: uint8 [height, width, 3].
        map: coloured, of the same proportions, or None.
        title, lines: below it.
        alt: what is seen, in words.
    """

    image: UInt8[np.ndarray, "height width 3"]
    map: UInt8[np.ndarray, "tall wide 3"] | None
    title: str
    lines: tuple[str, ...]
    alt: str


class Overlay(anywidget.AnyWidget):
    """Show panels side by side, and a slider for their maps.

    Attributes:
        panels: what is shown; set them by `show`.
        opacity: of the maps, from 0 to 1; follows the slider when it is let go.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    panels = traitlets.List(traitlets.Dict()).tag(sync=True)
    opacity = traitlets.Float(0.55, min=0, max=1).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.shown: tuple[Panel, ...] = ()
        self.add_class("reid-overlay-host")

    @traitlets.default("_esm")
    def _default_esm(self) -> str:
        return resource("overlay.js")

    @traitlets.default("_css")
    def _default_css(self) -> str:
        return resource("overlay.css")

    def show(self, panels: Sequence[Panel]) -> None:
        """Show other panels."""
        self.shown = tuple(panels)
        self.panels = [
            {
                "image": jpeg_of(panel.image, _HEIGHT),
                "map": None if panel.map is None else jpeg_of(panel.map, _HEIGHT),
                **{"title": panel.title, "lines": list(panel.lines), "alt": panel.alt},
            }
            for panel in panels
        ]


def panels_html(panels: Sequence[Panel], opacity: float) -> str:
    """Return panels as static HTML: each image, and its map over it where it has one."""
    cards = []
    for panel in panels:
        pictures = [(panel.image, panel.alt)]
        if panel.map is not None:
            image = Image.fromarray(panel.image).resize(panel.map.shape[1::-1], Image.Resampling.BILINEAR)
            over = Image.blend(image, Image.fromarray(panel.map), opacity)
            pictures.append((np.asarray(over), f"the map over {panel.title}"))
        drawn = "".join(
            f'<img src="{data_uri(jpeg_of(pixels, 256))}" alt="{text(alt)}" '
            f'style="width:{98 // len(pictures)}%;max-width:150px;height:auto;display:inline-block">'
            for pixels, alt in pictures
        )
        small = "".join(f"<br><small>{text(line)}</small>" for line in panel.lines)
        caption = f"<figcaption><strong>{text(panel.title)}</strong>{small}</figcaption>"
        cards.append(f'<figure style="margin:0;min-width:0;overflow-wrap:anywhere">{drawn}{caption}</figure>')
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(cards)}</div>'
