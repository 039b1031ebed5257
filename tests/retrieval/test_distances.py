"""Metrics by name: those of this package, and one of somebody else."""

from __future__ import annotations

import numpy as np
import pytest
from retrieval_cases import golden

from reidlab.errors import UserError
from reidlab.registry import METRICS, Entry
from reidlab.retrieval import evaluate, rank_gallery
from reidlab.retrieval.distances import Cosine


class Angle(Cosine):
    """The angle between two vectors."""

    shown = "distance"

    def distance(self, score: np.ndarray, squares: np.ndarray) -> np.ndarray:
        return np.arccos(np.clip(score / np.sqrt(squares), -1, 1))


def test_distances_are_what_they_are_called() -> None:
    query, gallery = np.array([3.0, 4.0]), np.array([[4.0, 3.0], [-3.0, -4.0], [6.0, 8.0]])
    squares, dots = (gallery**2).sum(1), gallery @ query
    cosine, euclidean = METRICS.build("cosine"), METRICS.build("euclidean")
    found = cosine.distance(dots * cosine.factor(squares), np.full(3, query @ query))
    np.testing.assert_allclose(found, [1 - 24 / 25, 2, 0], atol=1e-12)
    found = euclidean.distance(dots - euclidean.factor(squares), np.full(3, query @ query))
    np.testing.assert_allclose(found, np.linalg.norm(gallery - query, axis=1))


def test_a_metric_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="metric='angle' is not one of cosine, euclidean"):
        evaluate(**golden(), metric="angle")
    monkeypatch.setitem(METRICS._own, "angle", Entry("angle", f"{__name__}:Angle", "the angle between two vectors"))
    METRICS.__dict__.pop("_entries", None)
    try:
        angle, cosine = (evaluate(**golden(), metric=name) for name in ("angle", "cosine"))
        listed = rank_gallery(**golden(), metric="angle", queries=0)
    finally:
        METRICS.__dict__.pop("_entries", None)
    assert angle.scores() == cosine.scores() and angle.metric == "angle"
    wanted = np.arccos(1 - cosine.per_query["match_distance"])
    np.testing.assert_allclose(angle.per_query["match_distance"], wanted)
    assert listed["distance"].is_monotonic_increasing
