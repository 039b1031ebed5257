"""Two evaluations of the same queries side by side: which wins where, and whether it is more than chance."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import numpy as np
import numpy.typing as npt
import pandas as pd
import traitlets

from reidlab.errors import UserError, printable
from reidlab.explorers import twins
from reidlab.explorers.base import Explorer, row, shown_errors
from reidlab.explorers.comparer_views import Duel, check_belongs, difference_figure, listed
from reidlab.explorers.drawing import Drawing
from reidlab.explorers.grid import Grid, item
from reidlab.explorers.keys import Keys
from reidlab.explorers.pictures import Picture
from reidlab.explorers.rankings import Rankings
from reidlab.explorers.retrieval_views import Captions, thumbnails_of
from reidlab.retrieval.comparison import compare_results
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings

if TYPE_CHECKING:
    from reidlab.data.pixels import PixelStore

__all__ = ["RunComparer"]

STRIP = 24  # queries in the strip at once
_PLAIN = {"description_width": "initial"}
_HALF = {"flex": "1 1 290px", "min_width": "0"}


class ComparerState(traitlets.HasTraits):
    """What is chosen: which queries, which of them (a row of the query table, -1 for none), how many images."""

    show = traitlets.Enum(("all", "first", "second", "even", "failed"), "all")
    query = traitlets.Int(-1, min=-1)
    k = traitlets.Int(10, min=1, max=50)


class RunComparer(Explorer):
    """Compare two evaluations of the same queries and gallery.

    Args:
        first: one result.
        second: another one, under the same rule.
        first_embeddings: of the first, query and gallery in one table, as `stages.evaluation_stage` gives them.
        second_embeddings: of the second, of the same images in the same order.
        names: of the two; different ones.
        store: decoded pixels of the query images followed by those of the gallery, or (store, table); None: files.
        seed: of interval and test.

    Raises:
        UserError: other queries, another rule or gallery, or embeddings of other images.
    """

    name: ClassVar[str] = "comparer"
    title: ClassVar[str] = "Two runs compared"

    def __init__(
        self,
        first: RetrievalResult,
        second: RetrievalResult,
        first_embeddings: Embeddings,
        second_embeddings: Embeddings,
        *,
        names: tuple[str, str] = ("first", "second"),
        store: PixelStore | tuple[PixelStore, pd.DataFrame] | None = None,
        seed: int = 0,
    ) -> None:
        self.comparison = compare_results(first, second, names=names, seed=seed)
        self.names, self.duel = names, Duel.of(first, second)
        sides = [(each.split("query"), each.split("gallery")) for each in (first_embeddings, second_embeddings)]
        for result, (query, _), name in zip((first, second), sides, names):
            check_belongs(result, query, name)
        _check_same_images(*(gallery.table for _, gallery in sides))
        self.rankings = [Rankings(*side, result.metric) for side, result in zip(sides, (first, second))]
        self.reranked = [name for name, result in zip(names, (first, second)) if result.rerank]
        self.tables = {"q": sides[0][0].table, "g": sides[0][1].table}
        self.captions = Captions(self.tables, {})
        self.thumbnails = thumbnails_of(self.tables["q"], self.tables["g"], store)
        super().__init__(ComparerState())
        self.rows: npt.NDArray[np.int64] = np.arange(0)
        self._controls()
        self.state.observe(self._filter, "show")
        self.state.observe(self._draw, ["query", "k"])
        self._filter()

    def _controls(self) -> None:
        choices = {"all": "all", "first": f"{self.names[0]} wins", "second": f"{self.names[1]} wins"}
        choices |= {"failed": "both fail", "even": "even"}
        options = [(f"{words} ({len(self.duel.rows(name)):,})", name) for name, words in choices.items()]
        show = ipywidgets.Dropdown(options=options, description="Queries", style=_PLAIN, layout={"width": "auto"})
        k = ipywidgets.IntSlider(10, 1, 50, description="Nearest", continuous_update=False, style=_PLAIN)
        for name, control in (("show", show), ("k", k)):
            self.owns(traitlets.link((self.state, name), (control, "value")))
        back, forward = (ipywidgets.Button(description=text, layout={"width": "5em"}) for text in ("‹ Back", "Next ›"))
        back.on_click(lambda _: self.step(-1))
        forward.on_click(lambda _: self.step(1))
        table = f'<div style="overflow-x:auto;overflow-wrap:normal">{self.comparison._repr_html_()}</div>'
        self.scores, self.drawing = ipywidgets.HTML(table, layout={"flex": "1 1 430px", "min_width": "0"}), Drawing()
        self.strip = Grid(self._picture, label="Queries, the largest difference first", size=80)
        self.strip.add_class("reid-strip")
        self.strip.on_choose(lambda key: self.go(int(key[1:])))
        self.grids = [Grid(self._picture, label=f"Nearest images of {name}", size=112) for name in self.names]
        self.heads = [ipywidgets.HTML() for _ in self.names]
        halves = [ipywidgets.VBox(pair, layout=_HALF) for pair in zip(self.heads, self.grids)]
        keys = Keys(self.step, self.end)
        self.fill(row(self.scores, self.drawing), row(show, back, forward, k), self.strip, row(*halves), keys)

    @shown_errors
    def go(self, query: int) -> None:
        """Show a query, by its row in the query table."""
        if not 0 <= query < len(self.tables["q"]):
            raise UserError(f"There is no query {query}: they count from 0 to {len(self.tables['q']) - 1}.")
        self.state.query = query

    @shown_errors
    def step(self, by: int) -> None:
        """Go on in the list, by 1 or -1, to the ends at most."""
        if len(self.rows):
            at = int(np.flatnonzero(self.rows == self.state.query)[0]) if self.state.query in self.rows else -by
            self.state.query = int(self.rows[min(max(at + by, 0), len(self.rows) - 1)])

    @shown_errors
    def end(self, last: bool) -> None:
        """Go to the first or last query of the list."""
        if len(self.rows):
            self.state.query = int(self.rows[-1 if last else 0])

    @shown_errors
    def _filter(self, _: Any = None) -> None:
        """List the queries that are asked for, and go to the first of them."""
        self.rows = self.duel.rows(self.state.show)
        query = int(self.rows[0]) if len(self.rows) else -1
        if query == self.state.query:
            self._draw()
        self.state.query = query

    @shown_errors
    def _draw(self, _: Any = None) -> None:
        query = self.state.query
        self.drawing.show(difference_figure(self.duel, self.names, query))
        self._show_strip()
        aps = (self.duel.first, self.duel.second)
        for name, ap, rankings, head, grid in zip(self.names, aps, self.rankings, self.heads, self.grids):
            head.value = f"<strong>{escape(printable(name))}</strong>" + (f": AP {ap[query]:.1%}" if query >= 0 else "")
            grid.show(listed(rankings, self.tables, query, self.state.k) if query >= 0 else [])
        self.tell(self.summary())

    def _show_strip(self) -> None:
        """Show the part of the list that holds the query."""
        at = int(np.argmax(self.rows == self.state.query)) if self.state.query in self.rows else 0
        page = self.rows[at // STRIP * STRIP :][:STRIP].tolist()
        chosen = page.index(self.state.query) if self.state.query in page else -1
        keys = [f"q{query}" for query in page]
        if keys == self.strip.keys_shown:
            self.strip.selected = chosen
            return
        gap, pids = 100 * self.duel.difference, self.tables["q"]["pid"]
        self.strip.show(
            [item(f"q{n}", f"id {pids.iloc[n]}", f"{gap[n]:+.1f} points", "", self._told(n)) for n in page], chosen
        )

    def _told(self, query: int) -> str:
        return self.captions.alt(f"q{query}")

    def _picture(self, key: str) -> Picture:
        return self.thumbnails[key[0]].get(int(key[1:]))

    def summary(self) -> str:
        """Return in a sentence what is shown."""
        wins = [len(self.duel.rows(name)) for name in ("first", "second", "even", "failed")]
        words = f"{self.names[0]} wins {wins[0]:,} queries, {self.names[1]} {wins[1]:,}, {wins[2]:,} are even; "
        words += f"both fail at {wins[3]:,}. "
        if self.state.query < 0:
            return f"{words}No query is of this kind."
        note = f" Lists are of the embeddings as they are; the scores of {' and '.join(self.reranked)} are re-ranked."
        shown = 100 * self.duel.difference[self.state.query]
        points = f"AP of {self.names[1]} {shown:+.1f} points" if np.isfinite(shown) else "no right image in the gallery"
        return f"{words}Query {self.state.query}: {points}.{note if self.reranked else ''}"

    def twin(self) -> str:
        """Return scores, differences and the query's nearest images in both as static HTML."""
        lists = [
            f"<p>{head.value}</p>{twins.gallery(grid.items, self._picture, limit=11, height=96)}"
            for head, grid in zip(self.heads, self.grids)
        ]
        return f"{self.scores.value}{self.drawing.twin()}{''.join(lists)}{twins.legend()}"


def _check_same_images(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Refuse galleries of other images: their rows would be shown for each other's."""
    if len(one) != len(other) or (one["pid"].astype(str).to_numpy() != other["pid"].astype(str).to_numpy()).any():
        raise UserError("The two embeddings are of different galleries. Embed the same images in the same order.")
    if "path" in one and "path" in other and (one["path"].to_numpy() != other["path"].to_numpy()).any():
        at = int(np.flatnonzero(one["path"].to_numpy() != other["path"].to_numpy())[0])
        raise UserError(
            f"The two embeddings are of different galleries: image {at} is {one['path'].iloc[at]} and "
            f"{other['path'].iloc[at]}. Embed the same images in the same order."
        )
