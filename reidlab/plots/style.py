"""The look of all figures: colours that colour-blind readers can tell apart, signs beside colours, alt text.

Figures are made without pyplot: nothing is kept alive or shown twice. A notebook shows a returned figure, or the
axes of one, because both say how to be shown (with the alt text in the output's metadata).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reidlab.figure_text import printable

__all__ = [
    "IGNORED", "MARKS", "PALETTE", "QUERY", "RIGHT", "WRONG", "Chart", "ChartAxes", "Mark", "axes_or_new", "describe",
    "new_figure", "reidlab_style", "save_figure", "set_alt", "styled",
]  # fmt: skip

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4D4D4D", "#8C6D31")  # Okabe and Ito
INLINE_DPI = 80
HEAVY = 300_000  # bytes of an inline picture above which its colours are reduced
_ALT = "reidlab_alt"
_RC: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#4D4D4D",
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.usetex": False,  # TeX would read names as commands
}

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Mark:
    """How one kind of image is marked: colour, line style and sign, so that none of them has to do it alone."""

    name: str
    colour: str
    line: Literal["solid", "dashed", "dotted"]
    sign: str


RIGHT = Mark("right", "#009E73", "solid", "✓")
WRONG = Mark("wrong", "#D55E00", "dashed", "✗")
IGNORED = Mark("ignored", "#7F7F7F", "dotted", "–")
QUERY = Mark("query", "#0072B2", "solid", "?")
MARKS = {mark.name: mark for mark in (RIGHT, WRONG, IGNORED, QUERY)}


def _light(png: bytes) -> bytes:
    """Bring a PNG full of photographs to 256 colours, a third of its bytes: notebooks should stay below 2 MB."""
    if len(png) < HEAVY:
        return png
    from PIL import Image

    from reidlab.data.images import open_bytes, to_rgb

    out = io.BytesIO()
    to_rgb(open_bytes(png)).quantize(256, dither=Image.Dither.NONE).save(out, format="PNG", optimize=True)
    return min(png, out.getvalue(), key=len)


class Chart(Figure):
    """A figure that a notebook can show without pyplot."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=INLINE_DPI)
        alt = describe(self) or "figure"
        return {"image/png": _light(out.getvalue()), "text/plain": f"<{alt}>"}, {"image/png": {"alt": alt}}


class ChartAxes(Axes):
    """Axes of a `Chart`; a notebook shows the whole figure for them."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        chart = self.get_figure(root=True)
        return chart._repr_mimebundle_() if isinstance(chart, Chart) else ({"text/plain": repr(self)}, {})


def reidlab_style() -> Any:
    """Return a context that draws figures in the style of reidlab: `with reidlab_style(): ...`."""
    return mpl.rc_context(_RC)


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a plotting function so that it draws in the style of reidlab."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with reidlab_style():
            return function(*args, **kwargs)

    return inside


def new_figure(width: float, height: float) -> Chart:
    """Make an empty figure of `width` x `height` inches that lays itself out."""
    figure = Chart(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None, width: float = 6.4, height: float = 3.8) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    return ax if ax is not None else new_figure(width, height).add_subplot(axes_class=ChartAxes)


def set_alt(target: Axes | Figure, text: str) -> None:
    """Describe in words what axes or a figure show, for readers who cannot see them."""
    setattr(target, _ALT, printable(text))


def describe(target: Axes | Figure) -> str:
    """Return the alt text of a figure or of axes: its own, or those of its axes together."""
    own = getattr(target, _ALT, "")
    if own or isinstance(target, Axes):
        return own
    return " ".join(text for text in (getattr(ax, _ALT, "") for ax in target.axes) if text)


def save_figure(figure: Figure | Axes, path: str | Path, *, dpi: int = 120) -> Path:
    """Write a figure (or the figure of axes) in its suffix's format, PNG with the alt text inside; return the path."""
    chart = figure.get_figure(root=True) if isinstance(figure, Axes) else figure
    assert chart is not None
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Description": describe(chart)} if path.suffix.lower() in (".png", ".svg") else None
    chart.savefig(path, dpi=dpi, metadata=metadata)
    return path
