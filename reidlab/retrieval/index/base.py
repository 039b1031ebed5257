"""What every kind of index is: it proposes candidates, which `Index` compares exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int64

from reidlab.retrieval.index.rows import Rows

__all__ = ["Flat", "Kind"]

Arrays = Mapping[str, npt.NDArray[Any]]


class Kind(ABC):
    """A structure over the rows of an index; arguments of `__init__` are its options.

    Whatever it proposes is compared again by the exact vectors, so that similarities are exact and ties come in the
    order of ids; only which rows are looked at is approximate.

    Attributes:
        exact: nothing is proposed: all rows are compared.
        fewest: vectors that it needs at least.
    """

    exact: ClassVar[bool] = False
    fewest: ClassVar[int] = 1

    @abstractmethod
    def fit(self, rows: Rows, *, progress: bool = False) -> tuple[str, ...]:
        """Build the structure over all rows, in place of an earlier one; return what a user should know of it."""

    @abstractmethod
    def add(self, vectors: Float32[np.ndarray, "image dim"]) -> None:
        """Add vectors, scaled as the rows are, behind the others."""

    @abstractmethod
    def propose(self, queries: Float32[np.ndarray, "query dim"], k: int) -> Int64[np.ndarray, "query candidate"]:
        """Return rows among which the `k` nearest of each query probably are, -1 for none; queries are scaled."""

    @abstractmethod
    def dump(self) -> Arrays:
        """Return the structure as named arrays."""

    @abstractmethod
    def restore(self, arrays: Arrays, rows: Rows) -> None:
        """Take the structure over `rows` from what `dump` returned.

        Raises:
            KeyError, RuntimeError, ValueError: the arrays are not such a structure.
        """


class Flat(Kind):
    """Compare every vector, in blocks that are bounded in memory; vectors can stay in a file.

    Removing marks a row, and saving leaves it out.
    """

    exact: ClassVar[bool] = True

    def fit(self, rows: Rows, *, progress: bool = False) -> tuple[str, ...]:
        """Do nothing: the vectors are all there is."""
        return ()

    def add(self, vectors: npt.NDArray[np.float32]) -> None:
        """Do nothing: the vectors are all there is."""

    def propose(self, queries: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
        """Not asked: every row is compared."""
        raise NotImplementedError

    def dump(self) -> Arrays:
        """Return no arrays."""
        return {}

    def restore(self, arrays: Arrays, rows: Rows) -> None:
        """Take nothing."""
