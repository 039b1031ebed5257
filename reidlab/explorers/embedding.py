"""A map of embeddings: hover to see an image, draw a lasso to see many, colour by what is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import numpy as np
import traitlets

from reidlab.errors import UserError
from reidlab.explorers.base import Explorer, row, shown_errors
from reidlab.explorers.grid import MOST, Grid
from reidlab.explorers.pictures import Picture, Thumbnails
from reidlab.explorers.point_views import chosen_sentence, detail_html, legend_html, map_sentence, point_item
from reidlab.explorers.points import COLOURS, Planes, fared, first_choice, group_points
from reidlab.explorers.scatter import map_html, point_view
from reidlab.explorers.twins import gallery
from reidlab.retrieval.checks import check_choice
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.planes import PLANE_NAMES, PLANES
from reidlab.retrieval.vectors import Embeddings

if TYPE_CHECKING:
    from reidlab.data.pixels import PixelStore

__all__ = ["EmbeddingExplorer"]


class EmbeddingState(traitlets.HasTraits):
    """What is chosen: how the map is made and coloured, the image below the pointer, the images of the lasso."""

    method = traitlets.Enum(PLANES, "pca")
    colour = traitlets.Enum(COLOURS, "identity")
    lasso = traitlets.Bool(False)
    person = traitlets.Unicode("")
    hovered = traitlets.Int(-1, min=-1)
    chosen = traitlets.Tuple()


class EmbeddingExplorer(Explorer):
    """Look at a map of embeddings and at the images behind its points.

    Args:
        embeddings: vectors and their image table; compared by cosine.
        store: decoded pixels of the table; None: files are read.
        result: an evaluation of the table's queries, which may then be coloured by whether their first image was right.
        method: "pca", "tsne" or "umap" (see `reidlab.retrieval.planes.plane`).
        max_images: at most so many images are drawn, at random; None: as many as the method takes in about a minute.
        seed: of the draw and of the method.

    Raises:
        UserError: an unknown method, fewer than five images, or a result of other queries.
    """

    name: ClassVar[str] = "embedding"
    title: ClassVar[str] = "Map of embeddings"

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        store: PixelStore | None = None,
        result: RetrievalResult | None = None,
        method: str = "pca",
        max_images: int | None = None,
        seed: int = 0,
    ) -> None:
        check_choice("method", method, PLANES)
        self.table = embeddings.table
        self.planes = Planes(embeddings, max_images, seed)
        self.pids = embeddings.pids.astype(str)
        self.outcome, self.result = fared(self.table, result), result
        self.thumbnails = Thumbnails(self.table, store)
        super().__init__(EmbeddingState(method=method, colour="error" if result is not None else "identity"))
        known = {"error": result is not None, "camera": "camid" in self.table}
        self._controls([each for each in COLOURS if known.get(each, True)])
        self.state.observe(self._redraw, ["method", "colour"])
        self.state.observe(self._tell_choice, "chosen")
        self.state.observe(self._tell_hovered, "hovered")
        self.state.observe(self._find, "person")
        self._redraw()
        if not self.error:
            self._begin()
        if self.error:  # nothing to look at: say so where it was asked for
            self.close()
            raise self.errors[-1]

    def _controls(self, colours: list[str]) -> None:
        controls = _choices(colours)
        self.owns(*(traitlets.link((self.state, name), (control, "value")) for name, control in controls.items()))
        clear = ipywidgets.Button(description="Clear", tooltip="Choose no image", layout={"width": "5em"})
        clear.on_click(lambda _: self.choose([]))
        self.view = point_view(self._hover, self._lassoed)
        self.owns(self.view)
        self.state.observe(lambda change: self.view.lasso(change["new"]), "lasso")
        self.legend, self.chosen = ipywidgets.HTML(), ipywidgets.HTML()
        self.detail, beside = _with_detail(self.view.widget)
        scroll = ipywidgets.Layout(max_height="470px", overflow="auto")
        self.grid = Grid(self._picture, label="Chosen images", size=112, layout=scroll)
        self.grid.on_choose(lambda key: self.hover(int(key)))
        self.fill(row(*controls.values(), clear), self.legend, beside, self.chosen, self.grid)

    def _begin(self) -> None:
        """Choose something before anybody does: what went wrong, or else the first identity of the legend."""
        rows = first_choice(self.table, self.rows, self.outcome)
        self.choose(rows)
        self.hover(rows[0] if rows else -1)
        self._tell_choice()
        self._tell_hovered()

    @shown_errors
    def _redraw(self, _: Any = None) -> None:
        """Draw the map that is chosen; each is computed once."""
        method = self.state.method
        self.tell(f"{PLANE_NAMES[method]} is being computed ...")
        self.rows, self.points = self.planes.get(method)
        self.groups = group_points(self.table.iloc[self.rows], self.state.colour, self.outcome[self.rows])
        self.view.show(self.points, self.groups, self._title())
        self.view.lasso(self.state.lasso)
        self.legend.value = legend_html(self.groups)
        self._mark()
        self.tell(self.summary())

    @shown_errors
    def choose(self, rows: list[int]) -> None:
        """Choose images by their rows in the table."""
        self.state.chosen = tuple(rows)

    @shown_errors
    def hover(self, table_row: int) -> None:
        """Show one image, by its row in the table, beside the map; -1 none."""
        self.state.hovered = table_row

    @shown_errors
    def _find(self, _: Any = None) -> None:
        """Choose all images of the identity that was written."""
        wanted = self.state.person.strip()
        if not wanted:
            return
        found = self.rows[self.pids[self.rows] == wanted]
        if not len(found):
            raise UserError(f"No image on the map is of identity {wanted!r}.")
        self.choose(found.tolist())

    @shown_errors
    def _hover(self, point: int | None) -> None:
        if point is not None and 0 <= point < len(self.rows):  # the last image stays when the pointer leaves it
            self.hover(int(self.rows[point]))

    @shown_errors
    def _lassoed(self, points: list[int]) -> None:
        self.choose(self.rows[[point for point in points if 0 <= point < len(self.rows)]].tolist())

    def _points_of_choice(self) -> list[int]:
        return np.flatnonzero(np.isin(self.rows, self.state.chosen)).tolist()

    def _mark(self) -> None:
        self.view.choose(self._points_of_choice())

    @shown_errors
    def _tell_choice(self, _: Any = None) -> None:
        chosen = list(self.state.chosen)
        self._mark()
        self.chosen.value = f"<p>{chosen_sentence(self.table, self.outcome, chosen, MOST)}</p>"
        self.grid.show([self._item(at) for at in chosen[:MOST]])

    @shown_errors
    def _tell_hovered(self, _: Any = None) -> None:
        at = self.state.hovered
        picture = None if at < 0 else self.thumbnails.get(at)
        self.detail.value = detail_html(None if at < 0 else self._item(at), picture)

    def _picture(self, key: str) -> Picture:
        return self.thumbnails.get(int(key))

    def _item(self, at: int) -> dict[str, str]:
        return point_item(self.table, self.outcome, at, self.result)

    def _title(self) -> str:
        return f"{PLANE_NAMES[self.state.method]}, coloured by {self.groups.title}"

    def summary(self) -> str:
        """Return in a sentence what is shown."""
        wrong = int((self.outcome[self.rows] == 3).sum()) if self.result else None
        shown = map_sentence(len(self.rows), len(self.table), wrong, self.state.method)
        return f"{self._title()}: {shown}"

    def twin(self) -> str:
        """Return the map as a picture and the first of the chosen images."""
        items = [self._item(row) for row in self.state.chosen]
        drawn = map_html(self.points, self.groups, self._title(), self._points_of_choice())
        return drawn + self.chosen.value + (gallery(items, self._picture, limit=16) if items else "")


def _with_detail(view: ipywidgets.DOMWidget) -> tuple[ipywidgets.HTML, ipywidgets.DOMWidget]:
    """Return a place for one image, and the map with that place beside it."""
    detail = ipywidgets.HTML(layout={"flex": "0 0 180px"})
    detail.add_class("reid-detail-panel")
    beside = row(view, detail)
    beside.layout.align_items, beside.layout.max_width = "flex-start", "1100px"
    return detail, beside


def _choices(colours: list[str]) -> dict[str, ipywidgets.DOMWidget]:
    """Return the controls of what is chosen, by the names in the state."""
    named = {"error": "right or wrong"}
    plain = {"description_width": "initial"}
    drag = {"options": [("Drag moves", False), ("Drag chooses", True)], "style": {"button_width": "auto"}}
    drag["tooltips"] = ["Dragging moves the map, the wheel zooms", "Dragging draws a lasso around points"]
    person = {"description": "Identity", "placeholder": "choose its images", "continuous_update": False}
    methods, kinds = [(PLANE_NAMES[name], name) for name in PLANES], [(named.get(name, name), name) for name in colours]
    return {
        "method": ipywidgets.Dropdown(options=methods, description="Map", style=plain, layout={"width": "10em"}),
        "colour": ipywidgets.Dropdown(options=kinds, description="Colour", style=plain, layout={"width": "15em"}),
        "lasso": ipywidgets.ToggleButtons(**drag),
        "person": ipywidgets.Text(**person, style=plain, layout={"width": "15em"}),
    }
