"""A graph of near neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.retrieval.checks import check_whole
from reidlab.retrieval.index.base import Arrays, Kind
from reidlab.retrieval.index.libraries import add_rows, alone, import_faiss, packed, unpacked
from reidlab.retrieval.index.rows import Rows

__all__ = ["HNSW"]


class HNSW(Kind):
    """A graph of near neighbours in layers, walked from far to near (Malkov & Yashunin, TPAMI 2018; faiss).

    Fast to search, slow to build, and a second copy of the vectors in memory. Nothing can be taken out of a graph:
    removed vectors stay in it as way-points. With several threads two builds give slightly different graphs.

    Args:
        links: neighbours of a vector in the graph; more take memory, and find more.
        ef_build: candidates that are looked at when a vector is added.
        ef: candidates that are looked at in a search, k at least; more find more and take longer.
    """

    def __init__(self, *, links: int = 16, ef_build: int = 100, ef: int = 64) -> None:
        self.links = check_whole("links", links, 2, 512)
        self.ef_build = check_whole("ef_build", ef_build, 1, 100_000)
        self.ef = check_whole("ef", ef, 1, 100_000)
        self._index: Any = None
        self._storage: Any = None  # faiss keeps no reference to it

    def fit(self, rows: Rows, *, progress: bool = False) -> tuple[str, ...]:
        """Build the graph."""
        self._index = import_faiss().IndexHNSWFlat(rows.dim, self.links)
        self._index.hnsw.efConstruction = self.ef_build
        add_rows(self._index, rows, what="building hnsw", progress=progress)
        return ()

    def add(self, vectors: npt.NDArray[np.float32]) -> None:
        """Link new vectors."""
        self._index.add(np.ascontiguousarray(vectors))

    def propose(self, queries: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
        """Walk the graph."""
        parameters = import_faiss().SearchParametersHNSW(efSearch=max(self.ef, k))
        with alone(len(queries)):
            found: npt.NDArray[np.int64] = self._index.search(queries, k, params=parameters)[1]
        return found

    def dump(self) -> Arrays:
        """Return the graph without the vectors, which are kept already."""
        return {"graph": packed(self._index, import_faiss().IO_FLAG_SKIP_STORAGE)}

    def restore(self, arrays: Arrays, rows: Rows) -> None:
        """Take the graph, and the vectors from `rows`."""
        faiss = import_faiss()
        index = unpacked(arrays["graph"], rows, faiss.IO_FLAG_SKIP_STORAGE)
        self._storage = faiss.IndexFlatL2(rows.dim)
        for _, block in rows.blocks():
            self._storage.add(np.ascontiguousarray(block))
        index.own_fields = False
        index.storage = self._storage
        index.hnsw.efConstruction = self.ef_build
        self._index = index
