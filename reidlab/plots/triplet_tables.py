"""Figures of a triplet table: some of its triplets, and how often each identity serves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reidlab.data.triplets import ROLES
from reidlab.errors import UserError
from reidlab.plots.style import PALETTE, Chart, axes_or_new, set_alt, styled
from reidlab.plots.triplets import triplet_rows

__all__ = ["triplet_balance", "triplet_figure"]


def triplet_figure(table: pd.DataFrame, triplets: pd.DataFrame, *, height: int = 128, width: int = 64) -> Chart:
    """Draw triplets of an image table.

    Args:
        table: image table.
        triplets: columns anchor, positive, negative: rows of `table`.
        height, width: size in pixels that the images are brought to.
    """
    from reidlab.data.pixels import decode  # imports torch, which the other figures do without

    rows = triplets[list(ROLES)].to_numpy()
    paths = table["path"].to_numpy()
    images = np.stack([[decode(paths[row], (height, width)) for row in triplet] for triplet in rows])
    camids = table["camid"].to_numpy()[rows] if "camid" in table else None
    return triplet_rows(images, table["pid"].to_numpy()[rows], camids, limit=len(rows))


@styled
def triplet_balance(triplets: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how often images of each identity are anchors and negatives, identities ordered by their anchors.

    Args:
        triplets: columns anchor_pid and negative_pid.
        ax: where.

    Raises:
        UserError: no triplets.
    """
    if triplets.empty:
        raise UserError("The triplet table is empty: there is nothing to draw.")
    anchors = triplets["anchor_pid"].value_counts()
    negatives = triplets["negative_pid"].value_counts().reindex(anchors.index, fill_value=0)
    place = np.arange(1, len(anchors) + 1)
    ax = axes_or_new(ax, 8, 3.6)
    ax.fill_between(place, anchors, step="mid", color=PALETTE[0], alpha=0.35, label="as anchor")
    ax.plot(place, negatives, color=PALETTE[1], linewidth=1.2, drawstyle="steps-mid", label="as negative")
    ax.set(xlabel="identity (by number of anchors)", ylabel="triplets", xlim=(0.5, len(anchors) + 0.5), ylim=(0, None))
    ax.legend()
    text = f"{len(anchors)} identities: {anchors.min()} to {anchors.max()} times anchor, "
    set_alt(ax, text + f"{negatives.min()} to {negatives.max()} times negative.")
    return ax
