"""The images of a data set, filtered, page by page; a click shows one large with all that the table says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import numpy as np
import numpy.typing as npt
import pandas as pd
import traitlets

from reidlab.errors import UserError
from reidlab.explorers import twins
from reidlab.explorers.base import Explorer, row, shown_errors
from reidlab.explorers.dataset_views import (
    SIZES,
    DatasetControls,
    captions,
    counts,
    findings_of,
    flags_of,
    known_of,
    large_html,
)  # fmt: skip
from reidlab.explorers.grid import Grid
from reidlab.explorers.pictures import Picture, Thumbnails

if TYPE_CHECKING:
    from reidlab.data.audit import Audit
    from reidlab.data.pixels import PixelStore

__all__ = ["DatasetExplorer"]

LARGE = 512  # pixels of the large picture's height


class DatasetState(traitlets.HasTraits):
    """What is chosen; "" stands for all, rows are those of the table."""

    split = traitlets.Unicode("")
    pid = traitlets.Unicode("")
    camera = traitlets.Unicode("")
    flag = traitlets.Unicode("")  # a kind of the audit's findings, "any" or "none"
    page = traitlets.Int(0, min=0)
    page_size = traitlets.Enum(SIZES, 60)
    chosen = traitlets.Int(-1)


class DatasetExplorer(Explorer):
    """Look through an image table.

    Args:
        table: image table.
        store: decoded pixels of the table; None: files are read.
        audit: findings on the same table (`reidlab.data.audit.audit`, `Audit.load`); None: no flags.

    Raises:
        UserError: an empty table, a store or an audit of another one.
    """

    name: ClassVar[str] = "dataset"
    title: ClassVar[str] = "Data set"
    state: DatasetState

    def __init__(self, table: pd.DataFrame, *, store: PixelStore | None = None, audit: Audit | None = None) -> None:
        super().__init__(DatasetState())
        if not isinstance(table, pd.DataFrame) or not len(table):
            raise UserError("The table has no images to show. Read a data set with `reidlab.data.read`.")
        self.table = table.reset_index(drop=True)
        self.findings = findings_of(audit, len(table))
        self.thumbnails = Thumbnails(self.table, store)
        self._files = Thumbnails(self.table) if "path" in table else self.thumbnails  # larger than a store's
        self._flags = flags_of(self.findings, len(table))
        self.rows: npt.NDArray[np.int64] = np.arange(len(table))
        self.grid = Grid(self._picture, label="Images of the data set")
        self.large = ipywidgets.HTML()
        self.large.add_class("reid-large")
        self.counts = ipywidgets.HTML()
        self.controls = DatasetControls(self)
        self.fill(self.controls.filters, self.counts, row(*self.controls.pages), self.status, self.large, self.grid)
        self.grid.on_choose(self.choose)
        self.state.observe(self._filter, ["split", "pid", "camera", "flag"])
        self.state.observe(self._page, ["page", "page_size"])
        self.state.observe(self._choose, "chosen")
        self._draw()

    @shown_errors
    def choose(self, key: str) -> None:
        """Show an image large, by the key of the grid: "i12" is row 12; the same one again closes it."""
        number = int(key[1:])
        self.state.chosen = -1 if number == self.state.chosen else number

    @shown_errors
    def turn(self, by: int) -> None:
        """Go on by pages, as far as there are any."""
        self.state.page = min(max(self.state.page + by, 0), self.n_pages - 1)

    @property
    def n_pages(self) -> int:
        """Count the pages, one at least."""
        return max(1, -(-len(self.rows) // self.state.page_size))

    @property
    def shown(self) -> npt.NDArray[np.int64]:
        """Return the rows that are on the page."""
        begin = self.state.page * self.state.page_size
        return self.rows[begin : begin + self.state.page_size]

    def twin(self) -> str:
        """Return the counts and the first images of the page."""
        large = ""
        if self.state.chosen >= 0:
            picture = self._files.made(self.state.chosen, 256)
            large = large_html(picture, known_of(self.table, self.state.chosen, self.findings))
        return f"<p>{twins.text(counts(self.table, self.rows))}</p>{large}" + twins.gallery(
            self.grid.items, self._picture
        )

    def _picture(self, key: str) -> Picture:
        return self.thumbnails.get(int(key[1:]))

    def _matching(self) -> npt.NDArray[np.int64]:
        """Return the rows that pass all filters."""
        state, wanted = self.state, np.ones(len(self.table), bool)
        for column, value in (("split", state.split), ("camid", state.camera)):
            if value:
                wanted &= (self.table[column].astype(str) == value).to_numpy()
        if state.pid:
            names = self.table["pid"].astype(str)
            same = (names == state.pid).to_numpy()
            wanted &= same if same.any() else names.str.contains(state.pid, case=False, regex=False).to_numpy()
        if state.flag:
            wanted &= ~self._flags["any"] if state.flag == "none" else self._flags[state.flag]
        return np.flatnonzero(wanted)

    @shown_errors
    def _filter(self, _: Any) -> None:
        self.rows = self._matching()
        if self.state.page:
            self.state.page = 0  # which draws
        else:
            self._draw()

    @shown_errors
    def _page(self, _: Any) -> None:
        self.state.page = min(self.state.page, self.n_pages - 1)
        self._draw()

    @shown_errors
    def _choose(self, _: Any) -> None:
        chosen = self.state.chosen
        if not -1 <= chosen < len(self.table):
            raise UserError(f"There is no image {chosen}: the table has {len(self.table):,}.")
        self.grid.selected = next(iter(np.flatnonzero(self.shown == chosen).tolist()), -1)
        self.large.value = ""
        if chosen >= 0:
            self.large.value = large_html(self._files.made(chosen, LARGE), known_of(self.table, chosen, self.findings))

    def _draw(self) -> None:
        shown = self.shown
        place = next(iter(np.flatnonzero(shown == self.state.chosen).tolist()), -1)
        self.grid.show(captions(self.table, shown, self.findings), place)
        self.counts.value = twins.text(counts(self.table, self.rows))
        self.controls.follow()
        first = self.state.page * self.state.page_size + 1
        span = f"images {first:,} to {first + len(shown) - 1:,}" if len(shown) else "no image passes the filters"
        self.tell(f"{len(self.rows):,} of {len(self.table):,} images chosen; {span}.")
