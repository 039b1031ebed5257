"""Show rankings as pictures: each query and its nearest gallery images, marked right, wrong or ignored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from reidlab.errors import UserError, nearest
from reidlab.figure_text import cut, plain
from reidlab.plots.pictures import draw_image, image_of
from reidlab.plots.style import MARKS, Chart, new_figure, set_alt, styled
from reidlab.retrieval.outcome import RetrievalResult

__all__ = ["CHOICES", "choose_queries", "ranking_figure"]

CHOICES = ("worst", "best", "random")


def choose_queries(result: RetrievalResult, choose: str = "worst", count: int = 5, *, seed: int = 0) -> list[int]:
    """Pick query rows by AP among those with a valid match: the lowest, the highest, or at random.

    Ties go to the earlier query. Give the list to `rank_gallery(queries=...)`.
    """
    if choose not in CHOICES:
        raise UserError(f"choose={choose!r} is not one of {', '.join(CHOICES)}.{nearest(str(choose), CHOICES)}")
    if count < 1:
        raise UserError(f"count={count} must be at least 1.")
    frame = result.per_query[result.per_query["valid"]]
    if choose == "random":
        chosen = np.random.default_rng(seed).permutation(len(frame))[:count]
    else:
        chosen = np.argsort(frame["ap"].to_numpy() * (1 if choose == "worst" else -1), kind="stable")[:count]
    return [int(row) for row in frame["query"].to_numpy()[chosen]]


def _caption(row: Any, table: pd.DataFrame, score: str) -> str:
    """Write the score, and below it identity and camera."""
    sign = "s" if score == "similarity" else "d"
    return f"{sign} {getattr(row, score):.3f}\n{_who(table.iloc[int(row.gallery)])}"


def _who(image: Any) -> str:
    """Write identity and camera of a row of an image table, on two lines where one is too short."""
    pid = f"id {cut(image['pid'], 13)}"
    if "camid" not in image:
        return pid
    cam = f"cam {cut(image['camid'], 12)}"
    return f"{pid}, {cam}" if len(pid) + len(cam) <= 15 else f"{pid}\n{cam}"


@styled
def ranking_figure(
    listing: pd.DataFrame,
    query_table: pd.DataFrame,
    gallery_table: pd.DataFrame,
    *,
    query_images: Any = None,
    gallery_images: Any = None,
    result: RetrievalResult | None = None,
    title: str = "",
) -> Chart:
    """Draw each query of a listing and its nearest gallery images.

    Right images have a green solid border and a tick, wrong ones an orange dashed one and a cross, ignored ones a grey
    dotted one and a dash; below each stand the score (s: similarity, larger is nearer; d: distance), identity, camera.

    Args:
        listing: what `retrieval.rank_gallery` gave.
        query_table: rows of the queries: pid, perhaps camid, and path unless `query_images` is given.
        gallery_table: the same for the gallery.
        query_images: pixels by query row (see `pictures.image_of`), by default the table's files.
        gallery_images: pixels by gallery row.
        result: adds each query's AP.
        title: above all; say here how the queries were chosen.

    Raises:
        UserError: an empty listing or a missing image.
    """
    if listing.empty:
        raise UserError("The listing has no rows, so there is nothing to draw.")
    queries = list(dict.fromkeys(listing["query"].tolist()))
    score = "similarity" if "similarity" in listing.columns else "distance"
    query_images = query_table if query_images is None else query_images
    gallery_images = gallery_table if gallery_images is None else gallery_images
    width = int(listing["position"].max()) + 1
    shape = image_of(query_images, int(queries[0])).shape
    each = 1.1 * min(shape[0] / shape[1], 3)
    figure = new_figure(max(1.25 * width, 4.5), len(queries) * (1.1 * each + 0.75) + 0.75)
    grid = figure.subplots(len(queries), width, squeeze=False)
    for line, query in zip(grid, queries):
        for ax in line:
            draw_image(ax, None)
        text = _who(query_table.iloc[int(query)])
        if result is not None:
            text = f"AP {100 * result.per_query['ap'].iloc[int(query)]:.1f} %\n{text}"
        draw_image(line[0], image_of(query_images, int(query)), "query", text)
        for row in listing[listing["query"] == query].itertuples():
            place = int(row.position)
            draw_image(
                line[place],
                image_of(gallery_images, int(row.gallery)),
                str(row.flag),
                _caption(row, gallery_table, score),
            )
    for place, ax in enumerate(grid[0]):
        ax.set_title("query" if place == 0 else str(place), fontsize=11)
    _legend(figure, title)
    counts = listing["flag"].value_counts()
    words = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("right", "wrong", "ignored"))
    set_alt(figure, f"{title or 'Rankings'}. Queries: {len(queries)}, each with its nearest images; in all {words}.")
    return figure


def _legend(figure: Chart, title: str) -> None:
    """Explain the borders below all rows, and write the title."""
    entries = [
        Line2D([], [], color=mark.colour, linestyle=mark.line, linewidth=3, label=f"{mark.sign} {mark.name}")
        for mark in (MARKS["right"], MARKS["wrong"], MARKS["ignored"])
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=3, handlelength=3.5)
    if title:
        figure.suptitle(plain(title, 100), fontsize=12)
