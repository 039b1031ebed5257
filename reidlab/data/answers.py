"""Which images of a table could be found at all, under the rule that the query's own camera does not count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["answered"]


def answered(query: pd.DataFrame, gallery: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return for each query whether its identity is in the gallery and, where cameras are known, in another camera.

    Args:
        query: columns pid and, where cameras are known, camid.
        gallery: the same columns.
    """
    if "camid" not in query or "camid" not in gallery:
        return query["pid"].isin(gallery["pid"].unique()).to_numpy()
    total = gallery.groupby("pid").size()
    by_camera = gallery.groupby(["pid", "camid"]).size()
    here = by_camera.reindex(pd.MultiIndex.from_frame(query[["pid", "camid"]]), fill_value=0).to_numpy()
    return np.asarray(total.reindex(query["pid"], fill_value=0).to_numpy() > here)
