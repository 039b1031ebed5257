"""Codes of bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.retrieval.checks import check_seed, check_whole
from reidlab.retrieval.index.base import Arrays, Kind
from reidlab.retrieval.index.libraries import alone, import_faiss
from reidlab.retrieval.index.rows import Rows

__all__ = ["Binary"]


class Binary(Kind):
    """Signs as bits: all codes are compared by their Hamming distance, the nearest again by the exact vectors (faiss).

    A bit says on which side of the mean vector an image lies, along an axis of a random rotation or, without one, in
    a number of the vector. A thirty-second of the memory of the vectors, which can stay in their file. Vectors of a
    hashing head need no rotation.

    Args:
        rotation: rotate by a random orthogonal matrix first, so that every bit tells as much.
        bits: length of a code, a multiple of 8; None for the length of the vectors (rounded up). Needs the rotation.
        refine: vectors that are compared exactly, per image wanted; more find more and take longer.
        seed: of the rotation.
    """

    def __init__(self, *, rotation: bool = True, bits: int | None = None, refine: int = 50, seed: int = 0) -> None:
        self.rotation = rotation
        self.bits = None if bits is None else check_whole("bits", bits, 8, 2**16)
        if self.bits is not None and (self.bits % 8 or not rotation):
            raise UserError(f"bits={bits} must be a multiple of 8, and a number of bits needs rotation=True.")
        self.refine = check_whole("refine", refine, 1, 100_000)
        self.seed = check_seed(seed)
        self._mean: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._axes: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)  # [dim, bit]; empty without rotation
        self._index: Any = None

    def fit(self, rows: Rows, *, progress: bool = False) -> tuple[str, ...]:
        """Find the mean, draw the rotation, and code all rows."""
        total = sum((block.sum(axis=0, dtype=np.float64) for _, block in rows.blocks()), np.zeros(rows.dim))
        self._mean = (total / len(rows)).astype(np.float32)
        self._axes = _axes(rows.dim, self.bits or -(-rows.dim // 8) * 8, self.seed, self.rotation)
        self._index = import_faiss().IndexBinaryFlat(self._axes.shape[1] or -(-rows.dim // 8) * 8)
        for _, block in rows.blocks():
            self.add(block)
        return ()

    def _codes(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        centred = vectors - self._mean
        return np.packbits((centred @ self._axes if self._axes.size else centred) > 0, axis=1)

    def add(self, vectors: npt.NDArray[np.float32]) -> None:
        """Code vectors; the mean stays."""
        self._index.add(self._codes(vectors))

    def propose(self, queries: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
        """Return the rows with the nearest codes, `refine` times as many as are wanted."""
        count = min(self.refine * k, self._index.ntotal)
        with alone(len(queries)):
            found: npt.NDArray[np.int64] = self._index.search(self._codes(queries), count)[1]
        return found

    def dump(self) -> Arrays:
        """Return mean, axes and codes."""
        codes = import_faiss().vector_to_array(self._index.xb).reshape(self._index.ntotal, -1)
        return {"mean": self._mean, "axes": self._axes, "codes": codes}

    def restore(self, arrays: Arrays, rows: Rows) -> None:
        """Take mean, axes and codes."""
        codes, self._mean, self._axes = (np.ascontiguousarray(arrays[name]) for name in ("codes", "mean", "axes"))
        bits = self._axes.shape[1] or -(-rows.dim // 8) * 8
        if codes.shape != (len(rows), bits // 8) or self._mean.shape != (rows.dim,):
            raise ValueError(f"its codes are of shape {list(codes.shape)}")
        self._index = import_faiss().IndexBinaryFlat(bits)
        self._index.add(codes)


def _axes(dim: int, bits: int, seed: int, rotation: bool) -> npt.NDArray[np.float32]:
    """Draw axes [dim, bit], orthogonal as far as there are dimensions; none without rotation."""
    if not rotation:
        return np.empty((dim, 0), np.float32)
    rng = np.random.default_rng(seed)
    turns = [np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in range(-(-bits // dim))]
    return np.concatenate(turns, axis=1)[:, :bits].astype(np.float32)
