"""Multiple queries: the images of a person in a camera, averaged, search in the place of one of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.retrieval.protocol import pool_multi_query
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.data_run import DataRun

__all__ = ["multi_query_images", "pooled_queries"]


def multi_query_images(data: DataRun, metric: str) -> pd.DataFrame:
    """Return the images of the split multi_query, which are averaged into the queries.

    Raises:
        UserError: there are none, no camera is known, or the metric is not cosine.
    """
    table, name = data.table, data.run.params["dataset"]
    found = table[(table["split"] == "multi_query") & ~is_junk(table) & ~is_distractor(table)].reset_index(drop=True)
    if not len(found) or not (table["split"] == "query").any():
        raise UserError(
            f"multi_query=true: {name} has no queries with images of split multi_query. Market-1501 has them (folder "
            "gt_bbox); your own data may have a folder, or rows of a table, of that name."
        )
    if "camid" not in table:
        raise UserError("multi_query=true: images of one identity in one camera are averaged, and no camera is known.")
    if metric != "cosine":
        raise UserError(
            f"multi_query=true averages directions, so metric={metric!r} cannot be used: set metric='cosine'."
        )
    return found


def pooled_queries(vectors: Embeddings, pool: Embeddings) -> tuple[Embeddings, str]:
    """Put in the place of each query's vector the mean over its identity and camera in `pool`.

    Returns:
        The embeddings, and the note that goes with every score of them.
    """
    is_query = (vectors.table["split"] == "query").to_numpy()
    queries = vectors.table[is_query]
    mean, counts = pool_multi_query(
        pool.vectors,
        pool.table["pid"].to_numpy(),
        pool.table["camid"].to_numpy(),
        query=vectors.vectors[is_query],
        query_pids=queries["pid"].to_numpy(),
        query_camids=queries["camid"].to_numpy(),
    )
    changed = np.array(vectors.vectors, dtype=mean.dtype)
    changed[is_query] = mean
    alone = int((counts == 0).sum())
    single = f" {alone:,} of {len(counts):,} queries have none and stand for themselves." if alone else ""
    return Embeddings(changed, vectors.table), (
        f"Multiple queries: each is the mean of the images of its identity and camera, {counts.mean():.1f} on average;"
        f" not comparable with single-query scores.{single}"
    )
