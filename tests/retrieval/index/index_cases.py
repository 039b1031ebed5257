"""Vectors for the tests of indexes, and the naive loop that searches are held against."""

from __future__ import annotations

import numpy as np

Floats = np.ndarray


def draw(n: int, dim: int = 8, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def clusters(n: int, dim: int = 32, centres: int = 60, seed: int = 0, spread: float = 0.6) -> Floats:
    """Draw vectors around centres, as those of people are; other seeds draw others around the same centres."""
    middle = np.random.default_rng(99).standard_normal((centres, dim))
    rng = np.random.default_rng(seed)
    return (middle[rng.integers(0, centres, n)] + spread * rng.standard_normal((n, dim))).astype(np.float32)


def names(n: int, start: int = 0) -> list[str]:
    return [f"{row:05d}.jpg" for row in range(start, start + n)]


def naive(vectors: Floats, queries: Floats, k: int, metric: str = "cosine") -> tuple[Floats, Floats]:
    """Compare every pair in float64; sort by what float32 holds, ties in order; pad to k."""
    similarity = np.full((len(queries), k), -np.inf, np.float32)
    position = np.full((len(queries), k), -1, np.int64)
    for at, query in enumerate(queries.astype(float)):
        scores = []
        for vector in vectors.astype(float):
            if metric == "cosine":
                score = float(vector @ query) / np.sqrt(float(vector @ vector) * float(query @ query))
            else:
                score = -float(np.sqrt(((vector - query) ** 2).sum()))
            scores.append(float(np.float32(score)))
        order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:k]
        similarity[at, : len(order)] = [scores[row] for row in order]
        position[at, : len(order)] = order
    return similarity, position
