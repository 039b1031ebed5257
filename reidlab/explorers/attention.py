"""What a model looked at: image by layer by method, and which places of two images carried their cosine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from torch import nn

from reidlab.errors import UserError
from reidlab.explorers.attention_views import attention_controls, compared_item, panel_of, sign_of
from reidlab.explorers.base import Explorer, row, shown_errors
from reidlab.explorers.beside import partners, vectors_beside
from reidlab.explorers.grid import Grid
from reidlab.explorers.heat import SIGNED, STRENGTH, scale_html
from reidlab.explorers.keys import Keys
from reidlab.explorers.overlay import Overlay, Panel, panels_html
from reidlab.explorers.pictures import Picture, Thumbnails
from reidlab.explorers.points import who
from reidlab.explorers.seen import Seen
from reidlab.retrieval.planes import unit_rows
from reidlab.retrieval.vectors import Embeddings

if TYPE_CHECKING:
    from reidlab.data.pixels import PixelStore

__all__ = ["AttentionExplorer"]


class AttentionState(traitlets.HasTraits):
    """What is chosen: an image, how it is looked at, the image that it is compared with."""

    row = traitlets.Int(0, min=0)
    method = traitlets.Unicode("activation")
    layer = traitlets.Unicode("")
    pair = traitlets.Bool(False)
    other = traitlets.Int(-1, min=-1)


class AttentionExplorer(Explorer):
    """Look at maps of a model over the images of a table.

    Args:
        model: of `models.build` or `load_model`.
        table: image table; a query is shown first where it has one.
        store: decoded pixels of the table; None: files are read.
        embeddings: of the table's images by the model, beside it or with the same paths: an image is then compared with
            those nearest to it; None: with others of its identity.

    Raises:
        UserError: no images, or embeddings that lack one of the table's images.
    """

    name: ClassVar[str] = "attention"
    title: ClassVar[str] = "Attention"

    def __init__(
        self,
        model: nn.Module,
        table: pd.DataFrame,
        *,
        store: PixelStore | None = None,
        embeddings: Embeddings | None = None,
    ) -> None:
        if not len(table):
            raise UserError("The table has no images to look at.")
        self.table, self.thumbnails = table, Thumbnails(table, store)
        self.units = None if embeddings is None else unit_rows(vectors_beside(embeddings, table))
        self.seen = Seen(model, self.thumbnails)
        is_query = table["split"] == "query" if "split" in table else pd.Series(False, index=table.index)
        queries = np.flatnonzero(is_query.to_numpy())
        state = AttentionState(row=int(queries[0]) if len(queries) else 0, method=self.seen.methods[0])
        super().__init__(state)
        self._controls()
        state.observe(self._turn, "row")
        state.observe(self._change_method, "method")
        state.observe(self._draw, ["layer", "pair", "other"])
        self._turn()

    def _controls(self) -> None:
        back, forward = (ipywidgets.Button(description=text, layout={"width": "5em"}) for text in ("‹ Back", "Next ›"))
        back.on_click(lambda _: self.step(-1))
        forward.on_click(lambda _: self.step(1))
        controls = attention_controls(self.seen, len(self.table))
        self.method, self.layer = controls["method"], controls["layer"]
        self.owns(*(traitlets.link((self.state, name), (control, "value")) for name, control in controls.items()))
        self.overlay = Overlay()
        self.legend, self.above = ipywidgets.HTML(), ipywidgets.HTML()
        self.grid = Grid(self._picture, label="Images to choose from", size=96)
        self.grid.on_choose(self._chosen)
        steps = row(back, controls["row"], forward, controls["pair"])
        choice = row(self.method, self.layer)
        self.fill(steps, choice, self.overlay, self.legend, self.above, self.grid, Keys(self.step, self.end))

    @shown_errors
    def step(self, by: int) -> None:
        """Go `by` images on in the table, to its ends at most."""
        self.state.row = min(max(self.state.row + by, 0), len(self.table) - 1)

    @shown_errors
    def end(self, last: bool) -> None:
        """Go to the first or last image."""
        self.state.row = len(self.table) - 1 if last else 0

    @shown_errors
    def _turn(self, _: Any = None) -> None:
        """Show another image, compared with the first of its partners."""
        self.partners = partners(self.table, self.state.row, self.units)
        other = self.partners[0] if self.partners else -1
        if self.state.other == other:
            self._draw()
        self.state.other = other  # which draws

    @shown_errors
    def _change_method(self, _: Any = None) -> None:
        """Draw by another method; a layer of the one before may be none of its own."""
        if self.state.layer:
            self.state.layer = ""  # which draws
        else:
            self._draw()

    @shown_errors
    def _chosen(self, key: str) -> None:
        if self.state.pair:
            self.state.other = int(key)
        else:
            self.state.row = int(key)

    @shown_errors
    def _draw(self, _: Any = None) -> None:
        """Draw what is chosen; where the model has no such map, the images alone and the reason."""
        state = self.state
        self.method.disabled = state.pair
        self.layer.disabled = state.pair or not self.seen.takes_layer(state.method)
        near = "nearest to it" if self.units is not None else "of its identity first"
        self.above.value = f"<p>{'Compare with' if state.pair else 'Look at'} another image ({near}):</p>"
        self.grid.show([self._item(at) for at in self.partners], self._place())
        self.overlay.show([self._panel(at) for at in self._rows()])
        self.legend.value = ""
        self.tell("The map is being computed ...")
        try:
            self._draw_pair() if state.pair else self._draw_map()
        except Exception:
            self.tell(f"No map over {who(self.table, state.row)}.")
            raise

    def _draw_map(self) -> None:
        state = self.state
        found = self.seen.map(state.row, state.method, state.layer)
        plain, over = self._panel(state.row), self._panel(state.row, found.maps[0], 0, 1, STRENGTH)
        self.overlay.show([plain, over._replace(title=state.method, lines=(found.layer,))])
        self.legend.value = scale_html(0, 1, STRENGTH, f"strength of {state.method}, from 0 to 1 (no unit)")
        size = " x ".join(str(n) for n in found.maps.shape[1:])
        self.tell(f"{state.method} of {found.layer}, {size} places, over {who(self.table, state.row)}.")

    def _draw_pair(self) -> None:
        rows = self._rows()
        if len(rows) < 2:
            raise UserError("The table has no second image to compare with.")
        found = self.seen.pair(*rows)
        sides = (found.query, found.gallery)
        most = float(max(np.abs(side).max() for side in sides)) or 1.0
        self.overlay.show([self._panel(at, side, -most, most, SIGNED) for at, side in zip(rows, sides)])
        self.legend.value = scale_html(-most, most, SIGNED, "what each place adds to the cosine (red) or takes (blue)")
        same = sign_of(self.table, rows[1], rows[0]) != "wrong"
        sums = " and ".join(f"{float(side.sum()):.4f}" for side in sides)
        kind = "✓ the same identity" if same else "✗ different identities"
        self.tell(f"Cosine {found.cosine:.4f}, {kind}; the maps sum to {sums}. {found.note}")

    def _rows(self) -> list[int]:
        return [self.state.row, self.state.other][: 1 + (self.state.pair and self.state.other >= 0)]

    def _place(self) -> int:
        shown = self.state.pair and self.state.other in self.partners
        return self.partners.index(self.state.other) if shown else -1

    def _panel(self, at: int, *drawn: Any) -> Panel:
        return panel_of(self.thumbnails.pixels(at), self._item(at), *drawn)

    def _picture(self, key: str) -> Picture:
        return self.thumbnails.get(int(key))

    def _item(self, at: int) -> dict[str, str]:
        return compared_item(self.table, self.units, at, self.state.row)

    def twin(self) -> str:
        """Return the images with their maps over them, and what the colours mean."""
        return panels_html(self.overlay.shown, self.overlay.opacity) + self.legend.value
