"""Rankings one by one: a strip of queries, and what a gallery gives for the chosen one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import traitlets

from reidlab.errors import UserError
from reidlab.explorers import twins
from reidlab.explorers.base import Explorer, shown_errors
from reidlab.explorers.grid import Grid, item
from reidlab.explorers.rankings import Ranked, Rankings
from reidlab.explorers.retrieval_views import Captions, RetrievalControls, hits, thumbnails_of, told
from reidlab.explorers.strip import ORDERS, Queries, Strip
from reidlab.explorers.subjects import Subjects
from reidlab.explorers.uploads import Uploads, check_size, embedder_of, read_upload
from reidlab.retrieval.vectors import Embeddings

if TYPE_CHECKING:
    from reidlab.data.pixels import PixelStore
    from reidlab.retrieval.calibrated import Calibration
    from reidlab.retrieval.outcome import RetrievalResult

__all__ = ["RetrievalExplorer"]

PAST = 50  # steps back


class RetrievalState(traitlets.HasTraits):
    """What is chosen: whose ranking ("q3": query 3, "g3": gallery image 3, "u1": the first upload), and what of it."""

    subject = traitlets.Unicode("q0")
    history = traitlets.List(traitlets.Unicode())
    order = traitlets.Enum(tuple(ORDERS), "table")
    pid = traitlets.Unicode("")
    only_wrong = traitlets.Bool(False)
    seed = traitlets.Int(0)
    k = traitlets.Int(20, min=1, max=100)
    camera = traitlets.Unicode("")  # "": all, "others": not the query's, "camera:NAME"
    rerank = traitlets.Unicode("")
    show_ignored = traitlets.Bool(True)


class RetrievalExplorer(Explorer):
    """Look through rankings; each is the one that `retrieval` scores.

    Args:
        query: embeddings of the queries.
        gallery: embeddings of the gallery, by the same model.
        result: scores of the queries; None: they are computed when an order needs them.
        store: decoded pixels of the query table followed by the gallery table; or (store, table) of any table that has
            all of their paths; None: files are read.
        calibration: turns cosines into probabilities that a pair shows one person; without it cosines are shown.
        prior: share of the gallery that shows the query's person, for these probabilities; None: one image of all, as
            `reidlab search` assumes.
        model: embeds uploaded images: what made the embeddings, or a function from pixels, uint8 [height, width, 3], to
            an embedding [dim]; None: nothing can be uploaded.
        metric: "cosine" or "euclidean"; None: that of the result, or cosine.

    Raises:
        UserError: as `retrieval.evaluate`, scores of other queries, or a store without these images.
    """

    name: ClassVar[str] = "retrieval"
    title: ClassVar[str] = "Retrieval"
    state: RetrievalState

    def __init__(
        self,
        query: Embeddings,
        gallery: Embeddings,
        result: RetrievalResult | None = None,
        *,
        store: PixelStore | tuple[PixelStore, pd.DataFrame] | None = None,
        calibration: Calibration | None = None,
        prior: float | None = None,
        model: Any = None,
        metric: str | None = None,
    ) -> None:
        super().__init__(RetrievalState())
        metric = metric or (result.metric if result is not None else "cosine")
        self.rankings = Rankings(query, gallery, metric)
        self.queries = Queries(query, gallery, result, metric, self.rankings.problem)
        self.tables = {"q": query.table, "g": gallery.table}
        self.thumbnails = thumbnails_of(query.table, gallery.table, store)
        self.calibration, self.prior = calibration, prior or 1 / max(len(gallery), 2)
        self._embed = None if model is None else embedder_of(model)
        self._uploads = Uploads()
        self.captions = Captions(self.tables, self._uploads)
        self.subjects = Subjects(self.rankings, self.thumbnails, self._uploads)
        self._returning = False
        self.strip = Strip(self.queries, self.subjects.picture, self.captions.alt)
        self.grid = Grid(self.subjects.picture, label="The query and its nearest gallery images")
        self.controls = RetrievalControls(self)
        below = (*self.controls.below, self.status, self.grid, self.controls.legend)
        self.fill(*self.controls.above, self.strip.grid, *below)
        self.strip.grid.on_choose(self.go)
        self.grid.on_choose(self.go)
        self.state.observe(self._filter, ["order", "pid", "only_wrong", "seed"])
        self.state.observe(self._turn, "subject")
        self.state.observe(self._show, ["k", "camera", "rerank", "show_ignored"])
        self.strip.show(self.state.subject)
        self._draw()

    @shown_errors
    def go(self, key: str) -> None:
        """Make a query ("q3"), a gallery image ("g3") or an upload ("u1") the one whose ranking is shown."""
        self.subjects.check(key)
        self.state.subject = key

    @shown_errors
    def back(self, *_: Any) -> None:
        """Return to what was shown before."""
        if self.state.history:
            *self.state.history, last = self.state.history
            self._returning = True
            try:
                self.go(last)
            finally:
                self._returning = False

    @shown_errors
    def step(self, by: int) -> None:
        """Go on in the chosen order, by 1 or -1; after the last query comes the first."""
        if len(self.strip.rows):
            self.state.subject = self.strip.after(self.state.subject, by)

    @shown_errors
    def upload(self, name: str, content: bytes) -> None:
        """Rank the gallery for an image file of the user's own."""
        if self._embed is None:
            raise UserError("Nothing can be uploaded: this explorer was made without model=.")
        image = read_upload(name, content)
        ranked = self.rankings.of_vector(self._embed(image.pixels))
        self.state.subject = self._uploads.add(image, ranked)

    @shown_errors
    def refuse(self, name: str, size: int) -> None:
        """Say of an image file that it is too large; the browser has kept it back."""
        check_size(name, size)

    @shown_errors
    def unread(self, name: str, why: str) -> None:
        """Say of an image file that the browser could not read it."""
        raise UserError(f"{name!r} could not be read by the browser ({why}). Is it still there?")

    def ranked(self) -> Ranked:
        """Return the ranking that is shown, whole.

        Raises:
            UserError: there is no such query or image, or the upload is not kept any more.
        """
        if self.state.subject.startswith("q") and not self.rankings.is_made(self.state.rerank):
            self.tell("Re-ranking all queries: this is done once …")
        return self.subjects.ranked(self.state.subject, self.state.rerank)

    def twin(self) -> str:
        """Return the query and its nearest images, with what is known of the query."""
        known = self.captions.of(self.state.subject)
        return twins.gallery(self.grid.items, self.subjects.picture) + twins.legend() + twins.facts(known)

    @shown_errors
    def _filter(self, change: Any) -> None:
        """Choose other queries, and go to the first of them where it is the order that changed or this one is none."""
        state = self.state
        if not self.queries.is_scored and (state.order in ("worst", "best") or state.only_wrong):
            self.tell("Scoring all queries: this is done once …")
        chosen = {name: getattr(state, name) for name in ("order", "pid", "only_wrong", "seed")}
        self.strip.choose(self.queries.rows(**chosen))
        stays = change.name not in ("order", "seed") and state.subject in self.strip
        if len(self.strip.rows) and not stays:
            state.subject = f"q{self.strip.rows[0]}"
        self.strip.show(self.state.subject)
        self._tell()

    @shown_errors
    def _turn(self, change: Any) -> None:
        if not self._returning:
            self.state.history = [*self.state.history, change.old][-PAST:]
        self._draw()
        self.strip.show(self.state.subject)

    @shown_errors
    def _show(self, _: Any) -> None:
        self._draw()

    def _draw(self) -> None:
        ranked, subject = self.ranked(), self.state.subject
        own = item(subject, self.captions.short(subject), "query", "query", self.captions.alt(subject))
        listed = hits(ranked, self.state, self.captions, self.rankings, self.calibration, self.prior)
        self.grid.show([own, *listed])
        self._ranked = ranked
        self._tell()

    def _tell(self) -> None:
        self.tell(told(self.state, self._ranked, len(self.strip.rows), self.queries.form, self.captions))
