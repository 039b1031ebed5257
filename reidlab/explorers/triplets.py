"""Triplets one by one: anchor, positive and negative side by side, their distances and their loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from jaxtyping import Int64

from reidlab.data.triplets import ROLES, Triplets
from reidlab.errors import UserError
from reidlab.explorers.base import Explorer, row, shown_errors
from reidlab.explorers.beside import vectors_beside
from reidlab.explorers.keys import Keys
from reidlab.explorers.pictures import Thumbnails
from reidlab.explorers.triplet_scores import DISTANCES, triplet_distances, triplet_losses
from reidlab.explorers.triplet_views import Scored, triplet_html
from reidlab.retrieval.vectors import Embeddings

if TYPE_CHECKING:
    from reidlab.data.pixels import PixelStore
    from reidlab.losses.triplet import TripletLoss

__all__ = ["ORDERS", "TripletExplorer"]

ORDERS = {"drawn": "as drawn", "hardest": "largest loss first", "easiest": "smallest loss first"}
_PLAIN = {"description_width": "initial"}


class TripletState(traitlets.HasTraits):
    """What is chosen: a place in the order, the loss, which triplets are shown in which order."""

    position = traitlets.Int(0, min=0)
    margin = traitlets.Float(0.3, min=0)
    soft = traitlets.Bool(False)
    distance = traitlets.Enum(tuple(DISTANCES), "euclidean")
    order = traitlets.Enum(tuple(ORDERS), "drawn")
    only_active = traitlets.Bool(False)


class TripletExplorer(Explorer):
    """Step through triplets with what the triplet loss makes of each.

    Args:
        triplets: of `make_triplets`, a run of notebook 02 or `stages.triplets_from`.
        table: image table that their rows count in.
        store: decoded pixels of the table; None: files are read.
        embeddings: of the table's images by a model, beside it or with the same paths; None: no distances are shown.
        loss: a `TripletLoss` whose margin, soft margin and distance are shown first.

    Raises:
        UserError: no triplets, rows beyond the table, or embeddings that lack one of its images.
    """

    name: ClassVar[str] = "triplets"
    title: ClassVar[str] = "Triplets"

    def __init__(
        self,
        triplets: Triplets,
        table: pd.DataFrame,
        *,
        store: PixelStore | None = None,
        embeddings: Embeddings | None = None,
        loss: TripletLoss | None = None,
    ) -> None:
        self.rows, self.table = _rows(triplets, table), table
        self.order: Int64[np.ndarray, " shown"] = np.arange(len(self.rows))
        self.vectors = None if embeddings is None else vectors_beside(embeddings, table)
        self.thumbnails = Thumbnails(table, store, height=256)
        state = TripletState()
        if loss is not None:
            state.margin, state.soft = loss.margin, loss.soft_margin
            state.distance = "cosine" if loss.distance == "cosine" else "normalized" if loss.normalize else "euclidean"
        super().__init__(state)
        self._controls()
        self._measure()
        state.observe(self._measure, "distance")
        state.observe(self._reorder, ["margin", "soft", "order", "only_active"])
        state.observe(self._draw, "position")

    def _controls(self) -> None:
        back, forward = (ipywidgets.Button(description=text, layout={"width": "5em"}) for text in ("‹ Back", "Next ›"))
        back.on_click(lambda _: self.step(-1))
        forward.on_click(lambda _: self.step(1))
        self.place = ipywidgets.BoundedIntText(min=1, description="Triplet", style=_PLAIN, layout={"width": "9em"})
        self.place.observe(lambda change: self.go(change["new"] - 1), "value")
        margin = ipywidgets.FloatSlider(
            max=2, step=0.05, description="Margin", continuous_update=False, style=_PLAIN, layout={"width": "18em"}
        )
        margin.max = max(margin.max, self.state.margin)
        soft = ipywidgets.Checkbox(description="soft margin", indent=False, layout={"width": "auto"})
        active = ipywidgets.Checkbox(description="active only", indent=False, layout={"width": "auto"})
        order = _dropdown(ORDERS, "Order")
        distance = _dropdown(DISTANCES, "Distance")
        of_loss = {"margin": margin, "soft": soft, "distance": distance, "order": order, "only_active": active}
        for name, control in of_loss.items():
            self.owns(traitlets.link((self.state, name), (control, "value")))
            control.disabled = self.vectors is None
        self.margin = margin
        self.panel = ipywidgets.HTML(tabbable=True)
        self.panel.add_class("reid-triplet")
        steps = row(back, self.place, forward, order, active)
        self.fill(steps, row(margin, soft, distance), self.panel, Keys(self.step, self.end))

    @shown_errors
    def step(self, by: int) -> None:
        """Go `by` triplets on, to the ends at most."""
        self.go(self.state.position + by)

    @shown_errors
    def end(self, last: bool) -> None:
        """Go to the first or last triplet."""
        self.go(len(self.order) - 1 if last else 0)

    def go(self, position: int) -> None:
        """Go to a place in the order, to the ends at most."""
        self.state.position = min(max(position, 0), max(len(self.order) - 1, 0))

    @property
    def current(self) -> int | None:
        """Return which triplet of the table is shown; None where none is active."""
        return int(self.order[self.state.position]) if len(self.order) else None

    @shown_errors
    def _measure(self, _: Any = None) -> None:
        """Compute all distances, which takes longer than all losses."""
        if self.vectors is not None:
            self.distances = triplet_distances(self.vectors, self.rows, self.state.distance)
        self._reorder()

    @shown_errors
    def _reorder(self, _: Any = None) -> None:
        """Choose and order triplets; the one that is shown stays where it can."""
        state, kept = self.state, self.current
        self.margin.disabled = self.vectors is None or state.soft
        self.order = np.arange(len(self.rows))
        if self.vectors is not None:
            self.losses, self.active = triplet_losses(self.distances, state.margin, soft=state.soft)
            if state.order != "drawn":
                gap = self.distances[:, 0] - self.distances[:, 1]
                self.order = np.argsort(gap if state.order == "easiest" else -gap, kind="stable")
            if state.only_active:
                self.order = self.order[self.active[self.order]]
        found = np.flatnonzero(self.order == kept)  # none where none was shown
        position = int(found[0]) if len(found) else 0
        if state.position == position:
            self._draw()
        state.position = position

    @shown_errors
    def _draw(self, _: Any = None) -> None:
        with self.place.hold_trait_notifications():  # a shorter list must not pull the place along
            self.place.max = max(len(self.order), 1)
            self.place.value = self.state.position + 1
        self.tell(self.summary())
        self.panel.value = self.twin()

    def scored(self) -> Scored | None:
        """Return the shown triplet's distances, loss and whether it is active; None without embeddings."""
        at = self.current
        if self.vectors is None or at is None:
            return None
        d_ap, d_an = (float(distance) for distance in self.distances[at])
        margin = None if self.state.soft else self.state.margin
        return Scored(d_ap, d_an, float(self.losses[at]), bool(self.active[at]), margin, DISTANCES[self.state.distance])

    def summary(self) -> str:
        """Return in a sentence what is shown."""
        count = f"{len(self.order):,}" + (" active" if self.state.only_active and self.vectors is not None else "")
        where = f"Triplet {self.state.position + 1:,} of {count}" if len(self.order) else "No triplet is active"
        if self.vectors is None:
            return f"{where}. No embeddings were given: without a model there are no distances and no loss."
        kind = "the soft margin" if self.state.soft else f"a margin of {self.state.margin:g}"
        mean = self.losses.mean()
        return f"{where}. {self.active.mean():.1%} of {len(self.rows):,} are active with {kind}; mean loss {mean:.4f}."

    def twin(self) -> str:
        """Return the triplet that is shown as static HTML."""
        at = self.current
        if at is None:
            return "<p>No triplet is active with this margin: all of them are learnt.</p>"
        return triplet_html(self.table, self.rows[at], self.thumbnails, self.scored())


def _rows(triplets: Triplets, table: pd.DataFrame) -> Int64[np.ndarray, "triplet 3"]:
    rows = triplets.rows
    if not len(rows):
        raise UserError("There are no triplets to show. Draw them with notebook 02.")
    if rows.min() < 0 or rows.max() >= len(table):
        raise UserError(
            f"The triplets name rows {rows.min()} to {rows.max()}; the table has {len(table)} images. Give the table "
            f"that they were drawn of ({', '.join(ROLES)} are rows of it)."
        )
    return rows


def _dropdown(choices: dict[str, str], description: str) -> ipywidgets.Dropdown:
    options = [(text, name) for name, text in choices.items()]
    return ipywidgets.Dropdown(options=options, description=description, style=_PLAIN, layout={"width": "auto"})
