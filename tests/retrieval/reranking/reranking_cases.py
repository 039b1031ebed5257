"""Naive loops over lists and dictionaries that re-ranking is held against."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Rows = list[list[float]]


def squares(vectors: Any) -> Rows:
    """Squared Euclidean distances between all vectors."""
    return [[sum((float(a) - float(b)) ** 2 for a, b in zip(x, y)) for y in vectors] for x in vectors]


def units(vectors: Any) -> Any:
    return np.array([v / math.sqrt(sum(float(x) ** 2 for x in v)) for v in np.asarray(vectors, float)])


def k_reciprocal(
    query: Any, gallery: Any, *, k1: int = 20, k2: int = 6, lambda_value: float = 0.3, power: int = 1
) -> np.ndarray:
    """Re-ranked distances as Zhong et al. define them, image by image."""
    images = [*query, *gallery]
    square = squares(images)
    plain = [[(value / (max(row) or 1)) ** power for value in row] for row in square]
    order = [sorted(range(len(images)), key=row.__getitem__) for row in square]

    def mutual(i: int, k: int) -> set[int]:
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    weights = []
    for i in range(len(images)):
        members = mutual(i, k1)
        grown = set(members)
        for j in members:
            theirs = mutual(j, round(k1 / 2))
            if len(theirs & members) > 2 / 3 * len(theirs):
                grown |= theirs
        raw = {j: math.exp(-plain[i][j]) for j in grown}
        weights.append({j: value / sum(raw.values()) for j, value in raw.items()})
    means = []
    for i in range(len(images)):
        near = order[i][:k2] if k2 > 1 else [i]
        keys = {key for j in near for key in weights[j]}
        means.append({key: sum(weights[j].get(key, 0) for j in near) / len(near) for key in keys})
    found = np.zeros((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            one, other = means[i], means[len(query) + j]
            shared = sum(min(value, other.get(key, 0)) for key, value in one.items())
            jaccard = 1 - shared / (2 - shared)
            found[i, j] = (1 - lambda_value) * jaccard + lambda_value * plain[i][len(query) + j]
    return found


def cosine_distances(query: Any, gallery: Any) -> np.ndarray:
    return np.array([[1 - sum(map(float, x * y)) for y in units(gallery)] for x in units(query)])
