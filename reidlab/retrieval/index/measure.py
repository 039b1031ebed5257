"""Recall and time of an index, measured on some of its own vectors when it is built."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from reidlab.retrieval.index.core import Index

__all__ = ["measure"]

K = 10
QUERIES = 64
SECONDS = 0.8


def measure(index: Index) -> dict[str, Any]:
    """Search some vectors of the index one at a time, for about a second in all.

    A vector that is searched is itself in the index; it does not count. Two different queries at least are searched,
    however long that takes; the first one is not timed.

    Returns:
        recall (share of the k nearest that are found), k, queries, ms_per_query and flat_ms_per_query (medians), and
        the sentence that says so.
    """
    n = len(index)
    k = min(K, n - 1)
    chosen = np.random.default_rng(0).permutation(n)[: QUERIES + 1]
    times: list[tuple[float, float]] = []
    shares = []
    begun = time.perf_counter()
    for row in chosen:
        query = index._rows.take(np.array([row]))
        start = time.perf_counter()
        similarity, position = index._search(query, k + 1, flat=index._engine.exact)
        middle = time.perf_counter()
        exact = (similarity, position) if index._engine.exact else index._search(query, k + 1, flat=True)
        times.append((middle - start, time.perf_counter() - middle))
        if k:
            limit = np.sort(exact[0][exact[1] != row])[-k]
            shares.append(min(1.0, np.count_nonzero(similarity[position != row] >= limit) / k))
        if len(times) > 1 and time.perf_counter() - begun > SECONDS:
            break
    own, flat = np.median(np.array(times[1:] or times), axis=0) * 1000
    flat = own if index._engine.exact else flat
    found: dict[str, Any] = {
        "recall": float(np.mean(shares)) if shares else 1.0,
        "k": k,
        "queries": len(times),
        "ms_per_query": float(own),
        "flat_ms_per_query": float(flat),
    }
    return found | {"sentence": _sentence(index, found)}


def _sentence(index: Index, found: dict[str, Any]) -> str:
    what = f"{index.kind}, {len(index):,} vectors of length {index.dim}"
    if index._engine.exact:
        return f"{what}: exact, {found['ms_per_query']:.2g} ms per query."
    return (
        f"{what}: {found['recall']:.1%} of the {found['k']} nearest found, {found['ms_per_query']:.2g} ms per query; "
        f"flat takes {found['flat_ms_per_query']:.2g} ms ({found['queries']} of its own vectors, one at a time)."
    )
