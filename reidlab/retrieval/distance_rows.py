"""Distances between queries and gallery images that are made row by row, when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int64

from reidlab.errors import UserError, shown
from reidlab.retrieval.checks import check_real

__all__ = ["BLOCK_MIB", "DenseDistances", "Distances", "as_distances"]

BLOCK_MIB = 128

Floats = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


class Distances(ABC):
    """Distances [query, gallery], smaller is closer, of which only the rows that are asked for are in memory.

    `np.asarray(distances)` and `distances.dense()` hold all of them; `distances[3]` and `distances[3, :10]` make row 3.

    Attributes:
        shape: queries, gallery images.
        dtype: float32 or float64.
        told: how they were made.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    told: str = ""

    @abstractmethod
    def rows(self, queries: Int64[np.ndarray, " row"]) -> Float[np.ndarray, "row gallery"]:
        """Return the distances of queries, given by their rows, to the whole gallery; threads may call it at once."""

    def blocks(self, block_mib: float = BLOCK_MIB) -> Iterator[tuple[slice, Float[np.ndarray, "row gallery"]]]:
        """Give all rows in order: which queries, and their distances, in blocks of at most `block_mib` (or one row)."""
        block_mib = check_real("block_mib", block_mib, 0, 2**30, open_ends=True)
        step = max(1, int(block_mib * 2**20 / (self.shape[1] * self.dtype.itemsize)))
        for begin in range(0, self.shape[0], step):
            part = slice(begin, min(begin + step, self.shape[0]))
            yield part, self.rows(np.arange(part.start, part.stop))

    def dense(self) -> Float[np.ndarray, "query gallery"]:
        """Return all of them at once; that takes queries x gallery x 4 (float32) or 8 bytes."""
        found = np.empty(self.shape, self.dtype)
        for part, block in self.blocks():
            found[part] = block
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        if copy is False:
            raise ValueError("Distances are made when they are asked for, so that they cannot be had without a copy.")
        return self.dense().astype(dtype or self.dtype, copy=False)

    def __getitem__(self, at: Any) -> Any:
        first, *others = at if isinstance(at, tuple) else (at,)
        rows = np.arange(self.shape[0])[first]
        found = self.rows(np.atleast_1d(rows))
        return (found if np.ndim(rows) else found[0])[(..., *others) if others else ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape[0]:,} queries x {self.shape[1]:,} gallery images; {self.told})"


class DenseDistances(Distances):
    """Distances that are in memory already."""

    def __init__(self, values: Float[np.ndarray, "query gallery"], told: str = "distances as given") -> None:
        self.values, self.shape, self.dtype, self.told = values, (values.shape[0], values.shape[1]), values.dtype, told

    def rows(self, queries: Int64[np.ndarray, " row"]) -> Float[np.ndarray, "row gallery"]:
        """Return rows."""
        found: Floats = self.values[queries]
        return found


def as_distances(what: str, given: Any, shape: tuple[int, int] | None = None) -> Distances:
    """Return `Distances`, or a filled table of finite numbers [query, gallery] as such.

    Args:
        what: names them in messages.
        given: what a user gave.
        shape: the shape that they must have.

    Raises:
        UserError: something else, NaN or infinity, or another shape.
    """
    if not isinstance(given, Distances):
        try:
            values = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
        except (TypeError, ValueError, RuntimeError):
            values = np.zeros(0, object)
        if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
            raise UserError(f"{what}={shown(given)} must be what `rerank` returns, or numbers [query, gallery].")
        values = values.astype(np.float32 if values.dtype in (np.float16, np.float32) else np.float64, copy=False)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise UserError(f"{what} has NaN or infinity in {bad.sum()} rows, first in row {np.flatnonzero(bad)[0]}.")
        given = DenseDistances(values)
    if shape is not None and given.shape != shape:
        raise UserError(
            f"{what} are distances of {given.shape[0]:,} queries to {given.shape[1]:,} gallery images; here are "
            f"{shape[0]:,} and {shape[1]:,}. Make them of the same images, junk included."
        )
    return given
