"""A map of points that is hovered over and chosen from by lasso; without jupyter-scatter a picture of it.

Both views have `widget`, `show`, `choose`, `lasso` and `close`. jupyter-scatter draws by WebGL and gets points alone:
no name of a user reaches it. Its extra is `explore`.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Protocol

import ipywidgets
import numpy as np
import pandas as pd
from jaxtyping import Float, Int64

from reidlab.explorers.base import resource
from reidlab.explorers.points import Groups

__all__ = ["STILL", "PointView", "ScatterView", "StillView", "map_html", "point_view"]

STILL = (
    "The map is a picture, because jupyter-scatter is not installed. To hover over points and choose them by lasso: "
    'pip install "reidlab[explore]".'
)
MOST_GROUPS = 7
_HEIGHT = 380  # CSS pixels
_UNUSED = "#808080"
_WITHIN = 0.7
_LARGER = {1.0: 0, 2.0: 1, 4.0: 3}  # CSS pixels that a point is larger than others by the size of its group

Points = Float[np.ndarray, "image 2"]
Rows = Int64[np.ndarray, " row"]


class PointView(Protocol):
    """What an explorer needs of a map."""

    widget: ipywidgets.DOMWidget

    def show(self, points: Points, groups: Groups, title: str) -> None:
        """Show other points, or the same in other groups."""

    def choose(self, rows: Sequence[int]) -> None:
        """Mark points."""

    def lasso(self, on: bool) -> None:
        """Let dragging draw a lasso instead of moving the map."""

    def close(self) -> None:
        """Let go of whoever listens."""


def point_view(hovered: Callable[[int | None], Any], chosen: Callable[[list[int]], Any]) -> PointView:
    """Return a map that calls `hovered` with a point and `chosen` with the points in a lasso, if it can.

    Args:
        hovered: gets the number of a point, or None.
        chosen: gets the numbers of points.
    """
    if importlib.util.find_spec("jscatter") is None:
        return StillView()
    return ScatterView(hovered, chosen)


class ScatterView:
    """jupyter-scatter without its tool bar: what can be done stands in words beside it.

    One widget is made, of 2 MB in the browser, and its points and colours are exchanged.
    """

    def __init__(self, hovered: Callable[[int | None], Any], chosen: Callable[[list[int]], Any]) -> None:
        self._hovered, self._chosen = hovered, chosen
        self._marking = False  # the same event tells what was chosen here and what was chosen in the browser
        self._view = _scatter_widget()
        self._view.observe(self._hover, "hovering")
        self._view.observe(self._select, "selection")
        style = ipywidgets.HTML(f"<style>{resource('map.css')}</style>")
        style.add_class("reid-style")
        self.widget = ipywidgets.VBox([style, self._view], layout={"min_width": "0", "flex": "1 1 420px"})
        self.widget.add_class("reid-map")

    def show(self, points: Points, groups: Groups, title: str) -> None:
        """Show other points, or the same in other groups."""
        least = 5 if len(points) < 1000 else 4 if len(points) < 5000 else 3
        colours, sizes = [_rgba(_UNUSED)] * MOST_GROUPS, [1] * MOST_GROUPS
        for code, group in enumerate(groups.groups):
            colours[code], sizes[code] = _rgba(group.colour), least + _LARGER[group.size]
        values = np.zeros((len(points), 4), np.float32)
        values[:, :2], values[:, 2] = _square(points), groups.codes
        self.choose([])
        self._view.color, self._view.color_selected, self._view.size = colours, colours, sizes
        self._view.points = values
        self._view.point_order = np.argsort(groups.codes, kind="stable").astype(np.uint32)

    def choose(self, rows: Sequence[int]) -> None:
        """Mark points: those that are not chosen grow pale."""
        if list(self._view.selection) == list(rows):
            return
        self._marking = True
        try:
            self._view.selection = np.asarray(rows, np.uint32)
        finally:
            self._marking = False

    def lasso(self, on: bool) -> None:
        """Let dragging draw a lasso instead of moving the map."""
        self._view.mouse_mode = "lasso" if on else "panZoom"

    def _hover(self, change: Any) -> None:
        self._hovered(change["new"])

    def _select(self, change: Any) -> None:
        if not self._marking:
            self._chosen([] if change["new"] is None else [int(row) for row in change["new"]])

    def close(self) -> None:
        """Let go of whoever listens and of the points; the widget is closed by the box that it stands in.

        anywidget keeps a closed widget whose script is a file (its issue 929), so that it should hold little.
        """
        self._view.unobserve_all()
        self._view.points, self._view.point_order = np.zeros((1, 4), np.float32), np.zeros(1, np.uint32)
        self._view.selection = np.zeros(0, np.uint32)


def _scatter_widget() -> Any:
    """Return jupyter-scatter's widget, ready for points of `MOST_GROUPS` groups at most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, at what jupyter-scatter does with frames
        import jscatter

        names = [str(code) for code in range(MOST_GROUPS)]
        frame = pd.DataFrame({"x": np.arange(MOST_GROUPS) * 1.0, "y": 0.0, "group": pd.Categorical(names)})
        # a clear background suits light and dark pages
        made = jscatter.Scatter(x="x", y="y", data=frame, height=_HEIGHT, background_color=(0.5, 0.5, 0.5, 0))
        made.color(by="group", map=dict.fromkeys(names, _UNUSED)).size(by="group", map=dict.fromkeys(names, 1))
        made.axes(axes=False).legend(legend=False).tooltip(enable=False)
        view = made.show(buttons=[])
    view.data, view.opacity, view.opacity_unselected, view.legend_encoding = None, 0.85, 0.45, {}
    view.regl_scatterplot_options = {"pointSizeSelected": 1, "pointOutlineWidth": 1}
    view.layout.width = "100%"
    return view


def _square(points: Points) -> Points:
    """Bring points into a square, both directions by the same factor; 1 is half the height of the map.

    A map of the narrowest page is three quarters as wide as it is high.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray(_WITHIN * (points - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-12))


def _rgba(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] + [1.0]


class StillView:
    """A picture of the map."""

    def __init__(self) -> None:
        self.widget = ipywidgets.HTML(layout={"flex": "1 1 420px"})
        self.widget.add_class("reid-map")
        self._shown: tuple[Points, Groups, str] | None = None

    def show(self, points: Points, groups: Groups, title: str) -> None:
        """Draw other points, or the same in other groups."""
        self._shown = (points, groups, title)
        self.widget.value = f"{map_html(points, groups, title, [])}<p>{escape(STILL)}</p>"

    def choose(self, rows: Sequence[int]) -> None:
        """Mark points."""
        if self._shown is not None:
            self.widget.value = f"{map_html(*self._shown, rows)}<p>{escape(STILL)}</p>"

    def lasso(self, on: bool) -> None:
        """Do nothing: a picture has no lasso."""

    def close(self) -> None:
        """Let go of the points."""
        self._shown = None


def map_html(points: Points, groups: Groups, title: str, chosen: Sequence[int]) -> str:
    """Return the map as a picture in HTML, with what it shows in words."""
    import base64
    import io

    from reidlab.plots.point_maps import point_map
    from reidlab.plots.style import describe

    ax = point_map(points, groups.codes, groups.groups, title=title, chosen=np.asarray(chosen, np.int64))
    out = io.BytesIO()
    ax.get_figure(root=True).savefig(out, format="png", dpi=80)  # type: ignore[union-attr]
    data = base64.b64encode(out.getvalue()).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{escape(describe(ax))}" style="max-width:100%;height:auto">'
