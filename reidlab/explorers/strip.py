"""Which queries are shown, and in which order: by row, score or at random, of one identity, those that went wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from jaxtyping import Int64

from reidlab.errors import UserError
from reidlab.explorers.grid import Grid, item
from reidlab.explorers.pictures import Picture
from reidlab.retrieval.inputs import Problem
from reidlab.retrieval.metrics import evaluate
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings

__all__ = ["ORDERS", "Queries", "Strip"]

ORDERS = {"table": "as in the table", "worst": "worst first", "best": "best first", "random": "at random"}
AT_ONCE = 24  # queries in the strip
SMALL = 5_000_000  # pairs that are scored at once, in a moment


class Queries:
    """The queries of an explorer.

    Args:
        query: embeddings of the queries.
        gallery: of the gallery.
        result: their scores; None: they are computed when an order needs them.
        metric: "cosine" or "euclidean".
        problem: of both, which says what is ignored.

    Raises:
        UserError: the scores are of other queries.

    Attributes:
        names: identities as text [query].
        form: of the average precision: "plain" or "trapezoid".
    """

    def __init__(
        self,
        query: Embeddings,
        gallery: Embeddings,
        result: RetrievalResult | None,
        metric: str,
        problem: Problem,
    ) -> None:
        self._query, self._gallery, self._metric = query, gallery, metric
        self.form = "plain" if result is None else result.ap
        self._result = result
        if result is not None and result.n_query != len(query):
            raise UserError(f"The result has {result.n_query:,} queries, the embeddings {len(query):,}.")
        official = "official" if problem.query_cams is not None else "no_camera"
        if result is not None and result.rule != official:
            self._result = None  # ranked by another rule than what is shown here
        if self._result is None and len(query) * len(gallery) <= SMALL:
            with suppress(UserError):  # no query has a right image: an order by score says so
                self._result = self._scored()
        self.names = query.table["pid"].astype(str).to_numpy(dtype=object)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_scored(self) -> bool:
        """Return whether the scores are there."""
        return self._result is not None

    @property
    def result(self) -> RetrievalResult:
        """Return the scores of all queries.

        Raises:
            UserError: no query has a right image.
        """
        if self._result is None:
            self._result = self._scored()
        return self._result

    def _scored(self) -> RetrievalResult:
        return evaluate(self._query, self._gallery, metric=self._metric, ap=self.form)

    def sign(self, row: int) -> str:
        """Return whether the nearest image of a query is right or wrong; "" where it has none, or none is known."""
        if self._result is None:
            return ""
        line = self._result.per_query
        if not line["valid"].iloc[row]:
            return ""
        return "right" if line["first_rank"].iloc[row] == 1 else "wrong"

    def rows(
        self, *, order: str = "table", pid: str = "", only_wrong: bool = False, seed: int = 0
    ) -> Int64[np.ndarray, " row"]:
        """Return rows of queries.

        Args:
            order: a name of `ORDERS`; "worst" and "best" go by AP, and queries without a right image come last.
            pid: of this identity, or of those whose name holds the text where no identity has it as its name.
            only_wrong: only queries whose nearest image is wrong.
            seed: of "random".
        """
        rows = np.arange(len(self))
        if pid:
            same = self.names == pid
            rows = np.flatnonzero(same) if same.any() else self._named(lambda name: pid.lower() in name.lower())
        if only_wrong:
            per_query = self.result.per_query
            wrong = per_query["valid"].to_numpy() & (per_query["first_rank"].to_numpy() != 1)
            rows = rows[wrong[rows]]
        if order == "random":
            return np.random.default_rng(seed).permutation(rows)
        if order in ("worst", "best"):
            ap = self.result.per_query["ap"].to_numpy(dtype=np.float64)[rows]
            rows = rows[np.argsort(ap if order == "worst" else -ap, kind="stable")]  # NaN comes last either way
        return rows

    def _named(self, fits: Callable[[str], bool]) -> Int64[np.ndarray, " row"]:
        return np.flatnonzero([fits(name) for name in self.names])


class Strip:
    """The chosen queries as a row of pictures, of which the part around the current one is shown.

    Args:
        queries: what is chosen from.
        picture: gives the picture of "q3".
        told: what a picture shows, in words.

    Attributes:
        grid: the pictures.
        rows: the chosen queries in their order.
    """

    def __init__(self, queries: Queries, picture: Callable[[str], Picture], told: Callable[[str], str]) -> None:
        self.queries, self._told = queries, told
        self.choose(np.arange(len(queries)))
        self.grid = Grid(picture, label="Queries", size=80)
        self.grid.add_class("reid-strip")

    def choose(self, rows: Int64[np.ndarray, " row"]) -> None:
        """Take other queries, in this order; `show` shows them."""
        self.rows = rows
        self._keys = [f"q{row}" for row in rows.tolist()]
        self._place = {key: at for at, key in enumerate(self._keys)}

    def __contains__(self, subject: str) -> bool:
        return subject in self._place

    def after(self, subject: str, by: int) -> str:
        """Return the chosen query that is `by` places behind this one, round at the ends; the first after any other."""
        at = self._place.get(subject, -by if by > 0 else 0)
        return self._keys[(at + by) % len(self._keys)]

    def show(self, subject: str) -> None:
        """Show the part that holds this query, or the first part."""
        at = self._place.get(subject, 0)
        page = self._keys[at // AT_ONCE * AT_ONCE :][:AT_ONCE]
        selected = page.index(subject) if subject in page else -1
        if page == self.grid.keys_shown:
            self.grid.selected = selected
            return
        items = []
        for key in page:
            row = int(key[1:])
            caption = f"id\u00a0{self.queries.names[row]}"
            items.append(item(key, caption, f"no. {row}", self.queries.sign(row), self._told(key)))
        self.grid.show(items, selected)
