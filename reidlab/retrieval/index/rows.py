"""The vectors of an index: a base, which may be mapped from a file, and a tail of what was added since."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float32, Int64

from reidlab.errors import UserError
from reidlab.registry import METRICS
from reidlab.retrieval.inputs import as_vectors

__all__ = ["BLOCK_BYTES", "Rows", "as_rows", "squared_lengths"]

BLOCK_BYTES = 16 * 2**20  # of vectors that are looked at together

Floats = npt.NDArray[Any]


def as_rows(name: str, given: npt.ArrayLike, metric: str, dim: int | None = None) -> Float32[np.ndarray, "image dim"]:
    """Return vectors as finite float32 [image, dim]; a float32 array, mapped from a file or not, is not copied.

    Args:
        name: of the argument, for messages.
        given: vectors.
        metric: a registered name; cosine refuses rows of zeros.
        dim: columns that there must be; None takes any number.

    Raises:
        UserError: not such vectors (the first bad row is named), or another number of columns.
    """
    vectors = as_vectors(name, given, metric)
    if vectors.dtype != np.float32:
        with np.errstate(over="ignore", under="ignore"):  # both are looked for by the second check
            vectors = as_vectors(name, vectors.astype(np.float32), metric)
    if dim is not None and vectors.shape[1] != dim:
        raise UserError(
            f"{name} have {vectors.shape[1]} columns and the index has {dim}: its vectors come from another model."
        )
    return vectors


def squared_lengths(vectors: Floats) -> npt.NDArray[np.float64]:
    """Return squared lengths [image] of vectors [image, dim] in float64; equal rows have equal ones."""
    wide = vectors.astype(np.float64)
    return np.asarray(np.square(wide, out=wide).sum(axis=1))


class Rows:
    """Vectors as an index compares them: of length 1 for cosine, as they are for Euclidean distances.

    Args:
        given: checked float32 vectors [image, dim]. An array in memory is copied; one that is mapped from a file
            stays there, and is scaled whenever a block of it is read.
        metric: a registered name.
        scaled: they have length 1 already, where the metric wants that.
    """

    def __init__(self, given: Float32[np.ndarray, "image dim"], metric: str, *, scaled: bool = False) -> None:
        self.metric = METRICS.build(metric)
        self.dim = int(given.shape[1])
        self._base, self._factor = given, None
        if not scaled:
            if _is_mapped(given):
                self._factor = self._factors(given)
            else:
                self._base = self.scaled(given)
        self._tail = np.empty((0, self.dim), np.float32)
        self._held = 0  # rows of the tail in use; more are allocated, so that adding one by one stays cheap
        self._squares: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self._base) + self._held

    @property
    def step(self) -> int:
        """Rows of a block at most."""
        return max(1, BLOCK_BYTES // (4 * self.dim))

    def append(self, vectors: Float32[np.ndarray, "image dim"]) -> Float32[np.ndarray, "image dim"]:
        """Add checked vectors behind the others; return them as they are stored."""
        needed = self._held + len(vectors)
        if needed > len(self._tail):
            larger = np.empty((max(needed, 2 * len(self._tail)), self.dim), np.float32)
            larger[: self._held] = self._tail[: self._held]
            self._tail = larger
        self._tail[self._held : needed] = self.scaled(vectors)
        new = self._tail[self._held : needed]
        self._held = needed
        self._squares = None
        return new

    def drop(self, count: int) -> None:
        """Take back the last `count` vectors that were appended."""
        self._held -= count
        self._squares = None

    def blocks(self, most: int = 0) -> Iterator[tuple[int, Float32[np.ndarray, "row dim"]]]:
        """Go through all vectors in order: first row of a block, and its vectors (not to be written to).

        Args:
            most: rows of a block, where it is a view and takes no memory of its own; fewer where it has to be scaled.
        """
        step = self.step if self._factor is not None else max(most, self.step)
        for start in range(0, len(self._base), step):
            block = np.asarray(self._base[start : start + step])
            yield start, block if self._factor is None else block * self._factor[start : start + step, None]
        for start in range(0, self._held, step):
            yield len(self._base) + start, self._tail[start : min(start + step, self._held)]

    def take(self, rows: Int64[np.ndarray, " row"]) -> Float32[np.ndarray, "row dim"]:
        """Return the vectors of these rows."""
        split = len(self._base)
        if not self._held:
            return self._from_base(rows)
        found = np.empty((len(rows), self.dim), np.float32)
        late = rows >= split
        found[~late] = self._from_base(rows[~late])
        found[late] = self._tail[rows[late] - split]
        return found

    def only(self, kept: Bool[np.ndarray, " row"] | None = None) -> Float32[np.ndarray, "row dim"]:
        """Return the vectors of the rows that are kept (None: all); copied, unless they are all of the base."""
        if kept is None and not self._held and self._factor is None:
            return self._base
        parts = [block if kept is None else block[kept[start : start + len(block)]] for start, block in self.blocks()]
        return np.concatenate([np.empty((0, self.dim), np.float32), *parts])

    @property
    def squares(self) -> npt.NDArray[np.float64]:
        """Squared lengths [row], computed when they are first asked for."""
        if self._squares is None:
            self._squares = np.concatenate([squared_lengths(block) for _, block in self.blocks()] or [np.empty(0)])
        return self._squares

    def _from_base(self, rows: npt.NDArray[np.int64]) -> Floats:
        found: Floats = np.asarray(self._base[rows])
        return found if self._factor is None else found * self._factor[rows, None]

    def _factors(self, vectors: Floats) -> Floats | None:
        if not self.metric.scales:
            return None
        step = self.step
        parts = [squared_lengths(vectors[at : at + step]) for at in range(0, len(vectors), step)]
        return np.asarray(self.metric.factor(np.concatenate(parts)).astype(np.float32))

    def scaled(self, vectors: Float32[np.ndarray, "image dim"]) -> Float32[np.ndarray, "image dim"]:
        """Return a copy of checked vectors as the index compares them."""
        factors = self._factors(vectors)
        return vectors.copy() if factors is None else vectors * factors[:, None]


def _is_mapped(vectors: Any) -> bool:
    """Return whether an array is a view of a file, however many views lie between."""
    while isinstance(vectors, np.ndarray):
        if isinstance(vectors, np.memmap):
            return True
        vectors = vectors.base
    return False
