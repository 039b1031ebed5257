"""Named vectors that can be searched, added to and removed from: `Index` without its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int64

from reidlab.errors import UserError, nearest, shown
from reidlab.registry import INDEXES
from reidlab.retrieval.checks import check_whole
from reidlab.retrieval.index import exact
from reidlab.retrieval.index.base import Kind
from reidlab.retrieval.index.names import as_names, same_length
from reidlab.retrieval.index.rows import Rows, as_rows

__all__ = ["Members"]

MOST = 1_000_000  # results of a query


class Members:
    """Vectors with unique names over a structure of a kind; arguments are checked already."""

    def __init__(
        self, rows: Rows, names: list[str | None], engine: Kind, *, kind: str, metric: str, options: Mapping[str, Any]
    ) -> None:
        self.kind, self.metric, self.options = kind, metric, dict(options)
        self._rows, self._engine = rows, engine
        self._names = names  # None: removed
        self._at = {name: row for row, name in enumerate(names) if name is not None}
        self._fingerprint = ""  # computed when it is asked for
        self._dead: npt.NDArray[np.bool_] | None = None
        self._changed()

    def __len__(self) -> int:
        return len(self._at)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._rows.dim

    @property
    def ids(self) -> list[str]:
        """Names in their order, those of removed vectors left out."""
        return list(self._at)

    @property
    def vectors(self) -> Float32[np.ndarray, "image dim"]:
        """Vectors in the order of `ids`, as the index compares them; still in their file where nothing was changed."""
        found = self._rows.only(None if self._dead is None else ~self._dead).view()
        found.flags.writeable = False
        return found

    def normal(self, vectors: Float32[np.ndarray, "image dim"]) -> Float32[np.ndarray, "image dim"]:
        """Return vectors as the index would keep them: float32, of length 1 for cosine.

        Raises:
            UserError: as `search` of queries.
        """
        return self._rows.scaled(as_rows("vectors", vectors, self.metric, self.dim))

    def _changed(self) -> None:
        """Take note of which rows are removed [row], None where none is; the fingerprint is not known any more."""
        self._fingerprint, self._dead = "", None
        if len(self._at) < len(self._names):
            self._dead = np.array([name is None for name in self._names], dtype=bool)

    def search(
        self, queries: Float32[np.ndarray, "query dim"], k: int = 10
    ) -> tuple[Float32[np.ndarray, "query k"], Int64[np.ndarray, "query k"]]:
        """Find the `k` nearest vectors of each query.

        Returns:
            Similarities [query, k], the largest first (cosine, or minus the Euclidean distance), and positions
            [query, k] in `ids`. Where fewer are found, positions are -1 and similarities minus infinity.

        Raises:
            UserError: queries that are no such vectors, or of another length; k out of range.
        """
        checked = as_rows("queries", queries, self.metric, self.dim)
        return self._search(checked, check_whole("k", k, 1, MOST), flat=self._engine.exact)

    def recall(self, queries: Float32[np.ndarray, "query dim"], k: int = 10) -> float:
        """Return the share of the `k` nearest vectors that `search` finds, from 0 to 1; a tie with the k-th counts.

        Raises:
            UserError: as `search`, or the index is empty.
        """
        checked = as_rows("queries", queries, self.metric, self.dim)
        k = min(check_whole("k", k, 1, MOST), len(self))
        if not k:
            raise UserError("the index is empty: nothing can be found in it.")
        found = self._search(checked, k, flat=self._engine.exact)[0]
        return float(np.mean(found >= self._search(checked, k, flat=True)[0][:, -1:]))

    def _search(self, queries: npt.NDArray[np.float32], k: int, *, flat: bool) -> exact.Found:
        """Search checked queries, exactly if `flat`."""
        most = min(k, len(self))
        found = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
        if not most:
            return found
        dead = self._dead
        if flat:
            similarity, rows = exact.nearest(self._rows, queries, most, dead)
        else:
            candidates = self._candidates(self._rows.scaled(queries), most, dead)
            similarity, rows = exact.rescored(self._rows, queries, candidates, most)
        if dead is not None:
            rows = np.where(rows < 0, -1, (np.cumsum(~dead) - 1)[rows])
        found[0][:, :most], found[1][:, :most] = similarity, rows
        return found

    def _candidates(
        self, queries: npt.NDArray[np.float32], k: int, dead: npt.NDArray[np.bool_] | None
    ) -> npt.NDArray[np.int64]:
        """Return rows that may be the nearest; more are asked for until enough of them are not removed."""
        wanted = k
        while True:
            rows = self._engine.propose(queries, wanted)
            if dead is None:
                return rows
            rows = np.where((rows < 0) | dead[rows], -1, rows)
            if wanted >= len(self._rows) or ((rows >= 0).sum(axis=1) >= k).all():
                return rows
            wanted = min(2 * wanted, len(self._rows))

    def add(self, vectors: Float32[np.ndarray, "image dim"], ids: Sequence[str]) -> None:
        """Add vectors behind the others; in memory, until `save`.

        Raises:
            UserError: as `build`, vectors of another length, or a name that is in the index. Nothing is added then.
        """
        names = as_names("ids", ids)
        checked = as_rows("vectors", vectors, self.metric, self.dim)
        same_length(names, checked)
        again = next((name for name in names if name in self._at), None)
        if again is not None:
            raise UserError(f"{shown(again)} is in the index already; remove it first if its vector is to be replaced.")
        new = self._rows.append(checked)
        try:
            self._engine.add(new)
        except BaseException:
            self._rows.drop(len(new))
            raise
        self._at.update(zip(names, range(len(self._names), len(self._names) + len(names))))
        self._names += names
        self._changed()

    def remove(self, ids: Sequence[str]) -> int:
        """Remove vectors by their names and return how many; in memory, until `save`.

        Raises:
            UserError: a name that is not in the index. Nothing is removed then.
        """
        names = as_names("ids", ids, unique=False)
        strange = next((name for name in names if name not in self._at), None)
        if strange is not None:
            hint = nearest(strange, self._at) if len(self) < 10_000 else ""
            raise UserError(f"{shown(strange)} is not in the index.{hint}")
        gone = set(names)
        for name in gone:
            self._names[self._at.pop(name)] = None
        self._changed()
        if len(self._names) > 2 * len(self) >= 2 * self._engine.fewest:
            self.compact()
        return len(gone)

    def compact(self) -> None:
        """Drop removed vectors now and build the structure again from the rest, which are read into memory."""
        dead = self._dead
        if dead is None or len(self) < self._engine.fewest:
            return
        rows = Rows(self._rows.only(~dead), self.metric, scaled=True)
        engine: Kind = INDEXES.build(self.kind, options=self.options)
        engine.fit(rows)
        self._rows, self._engine, self._names = rows, engine, list(self._at)
        self._at = {name: row for row, name in enumerate(self._at)}
        self._dead = None
