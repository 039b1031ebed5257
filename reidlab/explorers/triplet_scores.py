"""Distances and losses of given triplets, one by one: what the triplet loss averages."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from reidlab.losses.measures import ACTIVE
from reidlab.retrieval.checks import check_choice, check_real
from reidlab.retrieval.planes import unit_rows

__all__ = ["DISTANCES", "triplet_distances", "triplet_losses"]

DISTANCES = {
    "euclidean": "Euclidean",
    "normalized": "Euclidean, L2-normalised",
    "cosine": "2 - 2 cosine",
}
_BLOCK = 4096  # triplets whose vectors are held at once


def triplet_distances(
    vectors: Float[np.ndarray, "image dim"], rows: Int64[np.ndarray, "triplet 3"], distance: str = "euclidean"
) -> Float64[np.ndarray, "triplet 2"]:
    """Return the distances from the anchor to the positive and to the negative, [triplet, 2].

    Args:
        vectors: embeddings [image, dim].
        rows: anchor, positive, negative of each triplet [triplet, 3], rows of `vectors`.
        distance: "euclidean", as `TripletLoss`; "normalized": after L2-normalisation (`normalize=True`); "cosine":
            2 - 2s (`distance="cosine"`).
    """
    check_choice("distance", distance, DISTANCES)
    found = np.zeros((len(rows), 2))
    for block in _blocks(len(rows)):
        anchor, *others = (vectors[rows[block, role]].astype(np.float64) for role in range(3))
        if distance != "euclidean":
            anchor, *others = (unit_rows(part) for part in (anchor, *others))
        for at, other in enumerate(others):
            squares = ((anchor - other) ** 2).sum(axis=1)
            found[block, at] = squares if distance == "cosine" else np.sqrt(squares)
    return found


def triplet_losses(
    distances: Float[np.ndarray, "triplet 2"], margin: float = 0.3, *, soft: bool = False
) -> tuple[Float64[np.ndarray, " triplet"], Bool[np.ndarray, " triplet"]]:
    """Return each triplet's loss and whether it is active: has a gradient.

    Args:
        distances: to the positive and to the negative [triplet, 2].
        margin: 0 or more; not used with the soft margin.
        soft: softplus(d_ap - d_an) instead of max(0, d_ap - d_an + margin); active is then a triplet whose slope is
            above 0.01, as `TripletLoss` counts.
    """
    gap = distances[:, 0] - distances[:, 1]
    if soft:
        return np.logaddexp(0, gap), gap > math.log(ACTIVE / (1 - ACTIVE))
    hinge = gap + check_real("margin", margin, 0, math.inf)
    return np.maximum(hinge, 0), hinge > 0


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))
