"""Lists of vectors around centres, whole or compressed."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_seed, check_whole
from reidlab.retrieval.index.base import Arrays, Kind
from reidlab.retrieval.index.libraries import add_rows, alone, import_faiss, packed, unpacked
from reidlab.retrieval.index.rows import Rows

__all__ = ["IVF", "IVFPQ"]

IN_A_LIST = 39  # vectors a list at least, as faiss recommends for k-means
SAMPLE = 64  # vectors a list that k-means sees at most
CODES = 256  # centres of a part: a byte


class IVF(Kind):
    """Lists of vectors around k-means centres; only the lists nearest to a query are searched (faiss).

    A second copy of the vectors lies in memory. More lists are searched where those hold fewer than k vectors. The
    centres stay where the first vectors put them: build it again once many others were added.

    Args:
        lists: number of centres; None for 2 * sqrt(images). Fewer where a list would have fewer than 39 vectors.
        probes: lists that are searched; more find more and take longer.
        seed: of k-means.
    """

    def __init__(self, *, lists: int | None = None, probes: int = 16, seed: int = 0) -> None:
        self.lists = None if lists is None else check_whole("lists", lists, 1, 2**24)
        self.probes = check_whole("probes", probes, 1, 2**24)
        self.seed = check_seed(seed)
        self.refine = 1
        self._index: Any = None
        self._quantizer: Any = None

    def fit(self, rows: Rows, *, progress: bool = False) -> tuple[str, ...]:
        """Find centres in a sample, and put each vector into the list of its nearest centre."""
        wanted = int(2 * len(rows) ** 0.5) if self.lists is None else self.lists
        lists = max(1, min(wanted, len(rows) // IN_A_LIST))
        self._quantizer = import_faiss().IndexFlatL2(rows.dim)
        index = self._made(rows.dim, lists)
        index.cp.seed = self.seed % 2**31
        index.cp.min_points_per_centroid = 1  # faiss would warn; it is said below
        chosen = np.random.default_rng(self.seed).permutation(len(rows))[: max(SAMPLE * lists, SAMPLE * CODES)]
        index.train(rows.take(np.sort(chosen)))
        add_rows(index, rows, what=f"building {lists} lists", progress=progress)
        self._index = index
        if lists == wanted or self.lists is None:
            return ()
        return (f"{lists} lists are used, not {wanted}: {len(rows)} vectors give each of them {IN_A_LIST} or more.",)

    def _made(self, dim: int, lists: int) -> Any:
        return import_faiss().IndexIVFFlat(self._quantizer, dim, lists)

    def add(self, vectors: npt.NDArray[np.float32]) -> None:
        """Put vectors into their lists."""
        self._index.add(np.ascontiguousarray(vectors))

    def propose(self, queries: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
        """Search the nearest lists; twice as many while they hold fewer than k vectors."""
        probes = min(self.probes, self._index.nlist)
        found = self._searched(queries, k, probes)
        while probes < self._index.nlist:
            few = np.flatnonzero((found >= 0).sum(axis=1) < k)
            if not len(few):
                break
            probes = min(2 * probes, self._index.nlist)
            found[few] = self._searched(queries[few], k, probes)
        return found

    def _searched(self, queries: npt.NDArray[np.float32], k: int, probes: int) -> npt.NDArray[np.int64]:
        parameters = import_faiss().SearchParametersIVF(nprobe=probes)
        count = min(self.refine * k, self._index.ntotal)
        with alone(len(queries)):
            found: npt.NDArray[np.int64] = self._index.search(queries, count, params=parameters)[1]
        return found

    def dump(self) -> Arrays:
        """Return centres and lists."""
        return {"lists": packed(self._index)}

    def restore(self, arrays: Arrays, rows: Rows) -> None:
        """Take centres and lists."""
        self._index = unpacked(arrays["lists"], rows)


class IVFPQ(IVF):
    """Lists of vectors that are compressed to a byte a part (product quantisation, Jégou et al., TPAMI 2011; faiss).

    A thirtieth of the memory of the vectors. What the compressed vectors bring forward is compared again by the exact
    ones, which can stay in their file.

    Args:
        parts: bytes that a vector is compressed to, a divisor of its length; None for parts of 8 numbers or fewer.
        refine: vectors that are compared exactly, per image wanted; more find more and take longer.
    """

    fewest: ClassVar[int] = CODES

    def __init__(
        self,
        *,
        lists: int | None = None,
        probes: int = 16,
        parts: int | None = None,
        refine: int = 20,
        seed: int = 0,
    ) -> None:
        super().__init__(lists=lists, probes=probes, seed=seed)
        self.parts = None if parts is None else check_whole("parts", parts, 1, 2**16)
        self.refine = check_whole("refine", refine, 1, 100_000)

    def _made(self, dim: int, lists: int) -> Any:
        parts = self.parts
        if parts is None:
            parts = next(count for count in range(max(1, dim // 8), dim + 1) if dim % count == 0)
        if dim % parts:
            divisors = ", ".join(str(each) for each in range(1, dim + 1) if dim % each == 0)
            raise UserError(f"parts={parts} must divide the length of the vectors, {dim}: {divisors}.")
        index = import_faiss().IndexIVFPQ(self._quantizer, dim, lists, parts, 8)
        index.pq.cp.min_points_per_centroid = 1
        index.pq.cp.seed = self.seed % 2**31
        return index
