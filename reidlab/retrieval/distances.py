"""Metrics of vectors, each made of a dot product and squared lengths: that is what can be ranked fast and exactly."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

__all__ = ["Cosine", "Euclidean", "Metric"]


class Metric(Protocol):
    """How a dot product becomes a score (larger is closer), and a score a distance.

    Attributes:
        scales: the score is the product times the gallery's factor; else the product less the factor.
        needs_direction: rows of zeros cannot be compared.
        shown: what listings of single images show, "similarity" or "distance".
    """

    scales: ClassVar[bool]
    needs_direction: ClassVar[bool]
    shown: ClassVar[str]

    def factor(self, squares: Float[np.ndarray, " gallery"]) -> Float[np.ndarray, " gallery"]:
        """Return the factor of each gallery image, from its squared length."""

    def distance(
        self, score: Float[np.ndarray, " pair"], squares: Float[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " pair"]:
        """Return distances, from scores and the squared lengths of their queries."""


class Cosine:
    """1 - cosine."""

    scales: ClassVar[bool] = True
    needs_direction: ClassVar[bool] = True
    shown: ClassVar[str] = "similarity"

    def factor(self, squares: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return 1 / length."""
        return np.asarray(1 / np.sqrt(squares))

    def distance(self, score: npt.NDArray[Any], squares: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return 1 - cosine, from 0 to 2."""
        return np.asarray(1 - score / np.sqrt(squares))


class Euclidean:
    """The length of the difference."""

    scales: ClassVar[bool] = False
    needs_direction: ClassVar[bool] = False
    shown: ClassVar[str] = "distance"

    def factor(self, squares: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return half the squared length."""
        return np.asarray(squares / 2)

    def distance(self, score: npt.NDArray[Any], squares: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the length of the difference, 0 or more."""
        return np.asarray(np.sqrt(np.maximum(squares - 2 * score, 0)))
