"""Controls of maps, and how images stand beside maps: what is said of an image beside another, and its panel."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets
import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

from reidlab.data.schema import is_distractor, is_junk
from reidlab.explorers.grid import item
from reidlab.explorers.heat import STRENGTH, coloured
from reidlab.explorers.overlay import Panel
from reidlab.explorers.points import who
from reidlab.explorers.seen import Seen
from reidlab.figure_text import cut

__all__ = ["attention_controls", "compared_item", "panel_of", "sign_of"]

_TALL = 256  # pixels, at least, to which a map is enlarged


def attention_controls(seen: Seen, count: int) -> dict[str, ipywidgets.DOMWidget]:
    """Return the controls of what is looked at, by the names in the state.

    Args:
        seen: the model's maps: its methods and layers are offered.
        count: images of the table.
    """
    plain, width = {"description_width": "initial"}, {"width": "auto"}
    place = {"description": "Image", "max": count - 1, "layout": {"width": "9em"}}
    methods = [(_method(name, at < seen.known), name) for at, name in enumerate(seen.methods)]
    layers = [("chosen by the method", ""), *((text, name) for name, text in seen.layers.items())]
    pair = ipywidgets.Checkbox(description="compare two images", indent=False, layout=width)
    return {
        "row": ipywidgets.BoundedIntText(**place, style=plain),
        "method": ipywidgets.Dropdown(options=methods, description="Method", style=plain, layout=width),
        "layer": ipywidgets.Dropdown(options=layers, description="Layer", style=plain, layout=width),
        "pair": pair,
    }


def _method(name: str, known: bool) -> str:
    return name if known else f"{name} (not of this model)"


def compared_item(
    table: pd.DataFrame, units: Float[np.ndarray, "image dim"] | None, row: int, base: int
) -> dict[str, str]:
    """Return what a grid shows of an image beside another: right, wrong or of the same camera, and their cosine.

    Args:
        table: image table.
        units: unit vectors [image, dim], or None.
        row: of the image.
        base: of the other one; the same row: nothing is compared.
    """
    facts = [f"camera {cut(table['camid'].iloc[row], 12)}"] if "camid" in table else []
    sign = ""
    if row != base:
        sign = sign_of(table, row, base)
        facts += [] if units is None else [f"cosine {units[row] @ units[base]:.3f}"]
    name = who(table, row)
    return item(str(row), name, ", ".join(facts), sign, ", ".join([name, *facts]))


def sign_of(table: pd.DataFrame, row: int, base: int) -> str:
    """Return "right", "wrong" or "ignored" (the same identity in the same camera) for an image beside another.

    Junk and distractors show nobody who is known: nothing is right beside them.
    """
    pair = table.iloc[[row, base]]
    nobody = bool((is_junk(pair) | is_distractor(pair)).any())
    if nobody or pair["pid"].iloc[0] != pair["pid"].iloc[1]:
        return "wrong"
    return "ignored" if "camid" in pair and pair["camid"].iloc[0] == pair["camid"].iloc[1] else "right"


def panel_of(
    pixels: UInt8[np.ndarray, "height width 3"],
    shown: Mapping[str, str],
    values: Float[np.ndarray, "row column"] | None = None,
    low: float = 0,
    high: float = 1,
    colours: str = STRENGTH,
) -> Panel:
    """Return an image with a map of it in colours, if there is one.

    Args:
        pixels: of the image.
        shown: as in `grid.item`.
        values: the map.
        low, high: values of the first and last colour.
        colours: Matplotlib's name of a colour map.
    """
    height, width = pixels.shape[:2]
    size = (height, width) if height >= _TALL else (_TALL, max(1, _TALL * width // height))
    over = None if values is None else coloured(values, *size, low=low, high=high, colours=colours)
    return Panel(pixels, over, shown["caption"], (shown["detail"],), shown["alt"])
