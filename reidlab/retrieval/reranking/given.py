"""Make a problem of vectors whose identities nobody has to know."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab.errors import UserError
from reidlab.retrieval.inputs import Problem, as_vectors, problem_of
from reidlab.retrieval.vectors import Embeddings, Labels

__all__ = ["vectors_alone"]


def vectors_alone(
    query: Embeddings | npt.ArrayLike,
    gallery: Embeddings | npt.ArrayLike,
    *,
    metric: str,
    query_camids: npt.ArrayLike | None = None,
    gallery_camids: npt.ArrayLike | None = None,
) -> Problem:
    """Check vectors and cameras, and return the problem of all images; all identities are 0, so that none is junk.

    Raises:
        UserError: as `evaluate`; cameras beside Embeddings.
    """
    sides = []
    for name, side, camids in (("query", query, query_camids), ("gallery", gallery, gallery_camids)):
        vectors: Any = side
        if isinstance(side, Embeddings):
            if camids is not None:
                raise UserError(f"{name}_camids is given beside Embeddings, whose table says it already. Leave it out.")
            vectors, camids = side.vectors, side.camids
        vectors = as_vectors(name, vectors, metric)
        sides.append((vectors, Labels(np.zeros(len(vectors), np.int64), camids)))
    (q, of_query), (g, of_gallery) = sides
    return problem_of(q, g, of_query, of_gallery, metric=metric)
