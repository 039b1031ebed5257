"""The nearest gallery files of each query, as an index finds them or in the order of a re-ranking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reidlab.search.embedded import EmbeddedFiles

if TYPE_CHECKING:
    from reidlab.retrieval import Index

__all__ = ["ranked_files"]


def ranked_files(
    made: Index, query: EmbeddedFiles, gallery: EmbeddedFiles, top: int, keep_self: bool, rerank: str
) -> pd.DataFrame:
    """Return the nearest gallery files of each query, as a frame: query, rank, file, similarity, probability (NaN).

    Args:
        made: index of the gallery.
        query: files that are searched for.
        gallery: files that are searched.
        top: hits per query.
        keep_self: list files with the query's own bytes too.
        rerank: method of re-ranking, "" for none.
    """
    digest_of = dict(zip(gallery.files, gallery.digests))
    copies = pd.Series(gallery.digests).value_counts()
    extra = 0 if keep_self else int(copies.reindex(query.digests).fillna(0).max())
    most = min(top + extra, len(gallery))
    lists = _reranked(query, gallery, most, rerank) if rerank else _nearest(made, query, most)
    rows = []
    for own, digest, listed in zip(query.files, query.digests, lists):
        wanted = (hit for hit in listed if keep_self or digest_of.get(hit[0]) != digest)
        rows += [(own, rank + 1, *hit) for rank, hit in zip(range(top), wanted)]
    return pd.DataFrame(rows, columns=["query", "rank", "file", "similarity"]).assign(probability=np.nan)


def _nearest(made: Index, query: EmbeddedFiles, most: int) -> Iterator[list[tuple[str, float]]]:
    """Yield files and cosines of each query, as the index finds them."""
    ids = made.ids
    for scores, places in zip(*made.search(query.vectors, most)):
        yield [(ids[at], score) for score, at in zip(scores.tolist(), places.tolist()) if at >= 0]


def _reranked(
    query: EmbeddedFiles, gallery: EmbeddedFiles, most: int, method: str
) -> Iterator[list[tuple[str, float]]]:
    """Yield files and cosines of each query, nearest first by the distances of a re-ranking."""
    from reidlab.retrieval import rerank

    q, g = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (query.vectors, gallery.vectors))
    row = 0
    for _, block in rerank(query.vectors, gallery.vectors, method=method).blocks():
        for distances in block:
            nearest = np.argsort(distances, kind="stable")[:most]
            cosines = (g[nearest] @ q[row]).tolist()
            yield [(gallery.files[at], score) for at, score in zip(nearest.tolist(), cosines)]
            row += 1
