"""What evaluations choose by name: metrics."""

from __future__ import annotations

from reidlab.registry.entries import Entry, Registry

__all__ = ["METRICS"]

METRICS = Registry(
    "metric",
    "metrics",
    [
        Entry("cosine", "reidlab.retrieval.distances:Cosine", "1 - cosine: only directions count"),
        Entry("euclidean", "reidlab.retrieval.distances:Euclidean", "length of the difference of two vectors"),
    ],
)
