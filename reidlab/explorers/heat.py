"""Maps as colours, and what the colours mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from reidlab.explorers.twins import text

__all__ = ["SIGNED", "STRENGTH", "coloured", "scale_html"]

STRENGTH = "inferno"  # from 0 on
SIGNED = "RdBu_r"  # below and above 0


def coloured(
    values: Float[np.ndarray, "row column"], height: int, width: int, *, low: float, high: float, colours: str
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a map in colours, enlarged smoothly (bilinear) to an image's size.

    Args:
        values: [row, column].
        height, width: of the image, in pixels.
        low, high: values of the first and the last colour.
        colours: Matplotlib's name of a colour map.
    """
    from matplotlib import colormaps

    wide = Image.fromarray(np.asarray(values, np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    share = (np.asarray(wide) - low) / max(high - low, 1e-12)
    return np.asarray(colormaps[colours](np.clip(share, 0, 1))[..., :3] * 255).round().astype(np.uint8)


def scale_html(low: float, high: float, colours: str, meaning: str) -> str:
    """Return the colours from low to high as a bar with its ends, its middle and what it means.

    Args:
        low, high: of the first and the last colour.
        colours: Matplotlib's name of a colour map.
        meaning: what is shown, with its unit.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = ",".join(to_hex(colormaps[colours](at / 10)) for at in range(11))
    ends = "".join(f"<span>{value:.3g}</span>" for value in (low, (low + high) / 2, high))
    return (
        f'<div style="max-width:348px;margin:4px 0"><div role="img" aria-label="{text(meaning)}, from {low:.3g} to '
        f'{high:.3g}" style="height:10px;background-image:linear-gradient(to right,{stops})"></div>'
        f'<div style="display:flex;justify-content:space-between;font-size:85%">{ends}</div>'
        f"<small>{text(meaning)}</small></div>"
    )
