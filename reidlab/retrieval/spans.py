"""Orders of a problem's images: which stand together, and which queries share a row of products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Lines", "Spans"]

Ints = npt.NDArray[np.int64]


class Spans:
    """The gallery columns ordered by a code and, for each query, where its code begins and ends among them."""

    def __init__(self, query: Ints, gallery: Ints) -> None:
        self.order = np.argsort(gallery, kind="stable")
        codes = gallery[self.order]
        self.start, self.stop = np.searchsorted(codes, query), np.searchsorted(codes, query, "right")

    def listed(self, queries: Ints) -> tuple[Ints, Ints]:
        """List all gallery images of the queries' codes: row in `queries`, column."""
        counts = self.stop[queries] - self.start[queries]
        row = np.repeat(np.arange(len(queries)), counts)
        within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        return row, self.order[np.repeat(self.start[queries], counts) + within]


class Lines:
    """The different rows of products: `rows` are the first queries of each; queries come in the order of theirs."""

    def __init__(self, first: Ints) -> None:
        self.rows, self.line = np.unique(first, return_inverse=True)
        self.order = np.argsort(self.line, kind="stable")
        self.ends = np.searchsorted(self.line[self.order], np.arange(len(self.rows) + 1))

    def __len__(self) -> int:
        return len(self.rows)

    def block(self, begin: int, end: int) -> tuple[Ints, Ints, Ints]:
        """Return the rows of lines [line], their queries [query] and the line of each of these [query]."""
        queries = self.order[self.ends[begin] : self.ends[end]]
        return self.rows[begin:end], queries, self.line[queries] - begin
