"""Show where a retrieval is right and wrong: cameras, people taken for each other, labels that may be wrong."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reidlab.errors import UserError
from reidlab.figure_text import cut, plain
from reidlab.plots.pictures import draw_image, image_of
from reidlab.plots.style import WRONG, Chart, axes_or_new, new_figure, set_alt, styled
from reidlab.retrieval.checks import check_choice, check_whole

__all__ = ["camera_matrix", "confused_identities", "suspicious_labels"]

SCORES = {"rank1": "rank-1", "mAP": "mAP"}
MOST_CELLS = 20  # cameras along a side whose cells are written in


@styled
def camera_matrix(matrix: pd.DataFrame, *, value: str = "mAP", ax: Axes | None = None) -> Axes:
    """Draw the scores of queries of one camera in the gallery of another as a heat map; below each, how many queries.

    Args:
        matrix: what `retrieval.camera_matrix` returns.
        value: "rank1" or "mAP".
        ax: where.

    Raises:
        UserError: another value, or no pair of cameras.
    """
    import seaborn as sns

    check_choice("value", value, SCORES)
    if matrix.empty:
        raise UserError("The matrix has no pair of cameras: there is nothing to draw.")
    rows, columns = (list(dict.fromkeys(matrix[f"{side}_camid"].tolist())) for side in ("query", "gallery"))
    keys = [matrix["query_camid"].map(rows.index), matrix["gallery_camid"].map(columns.index)]
    score, count = np.full((len(rows), len(columns)), np.nan), np.zeros((len(rows), len(columns)), np.int64)
    score[tuple(keys)], count[tuple(keys)] = 100 * matrix[value], matrix["queries"]
    ax = axes_or_new(ax, max(4.6, 0.75 * len(columns) + 2.2), max(3.2, 0.6 * len(rows) + 1.4))
    texts = [[f"{each:.0f} %\n{times:,}" for each, times in zip(*line)] for line in zip(score, count)]
    written = max(score.shape) <= MOST_CELLS
    sns.heatmap(
        pd.DataFrame(score), mask=np.isnan(score), annot=pd.DataFrame(texts) if written else False, fmt="",
        annot_kws={"fontsize": 8}, cmap="cividis", vmin=0, vmax=100, linewidths=1, linecolor="white",
        xticklabels=[plain(name, 8) for name in columns], yticklabels=[plain(name, 12) for name in rows],
        cbar_kws={"label": f"{SCORES[value]} (%)"}, ax=ax,
    )  # fmt: skip
    ax.set_facecolor("#DDDDDD")
    ax.grid(False)
    ax.tick_params(axis="y", rotation=0)
    for text, each in zip(ax.texts, score[~np.isnan(score)]):  # seaborn writes white on colours that are too light
        text.set_color("black" if each > 55 else "white")
    for row, column in np.argwhere(np.isnan(score)) if written else ():
        ax.text(column + 0.5, row + 0.5, "–", ha="center", va="center", fontsize=8)
    ax.set(xlabel="camera of the gallery images (id)", ylabel="camera of the query (id)")
    filled = matrix[matrix["queries"] > 0]
    told = "none has a query with a match"
    if len(filled):
        low, high = (filled.loc[filled[value].agg(end)] for end in ("idxmin", "idxmax"))
        told = "; ".join(
            f"{word} {100 * each[value]:.0f} %, camera {each['query_camid']} to {each['gallery_camid']}"
            for word, each in (("lowest", low), ("highest", high))
        )
    set_alt(ax, f"Heat map of {SCORES[value]} by camera of query ({len(rows)}) and gallery ({len(columns)}): {told}.")
    return ax


@styled
def confused_identities(
    pairs: pd.DataFrame,
    query_table: pd.DataFrame | None = None,
    gallery_table: pd.DataFrame | None = None,
    *,
    query_images: Any = None,
    gallery_images: Any = None,
    limit: int = 10,
) -> Chart:
    """Draw a table of the people who are most often taken for each other: true, taken for, how often.

    With images there stand pictures beside: the query, and the image of the other person that was nearest to it.

    Args:
        pairs: what `retrieval.confused_identities` returns.
        query_table: image table of the queries, whose files are drawn; or give `query_images`.
        gallery_table: the same of the gallery.
        query_images: pixels by query row (see `pictures.image_of`).
        gallery_images: pixels by gallery row.
        limit: pairs that are drawn.

    Raises:
        UserError: no pair, or images of one side alone.
    """
    limit = check_whole("limit", limit, 1, 100)
    if pairs.empty:
        raise UserError("No query was taken for another identity: there is nothing to draw.")
    sides = [
        table if images is None else images
        for images, table in ((query_images, query_table), (gallery_images, gallery_table))
    ]
    if (sides[0] is None) != (sides[1] is None):
        raise UserError("Pictures need the images of both sides: give query_table and gallery_table, or neither.")
    shown = pairs.head(limit)
    rows = list(zip(shown["query"].tolist(), shown["gallery"].tolist()))
    figure, texts = _listing(rows, sides, 0.36)
    figure.suptitle("identity → taken for", fontsize=11)
    for ax, pair in zip(texts, shown.itertuples()):
        # `$` is escaped by plain, the arrow is ours
        ax.text(0.02, 0.5, f"{plain(cut(pair.pid, 14))} → {plain(cut(pair.taken_for, 14))}", va="center", fontsize=11)
        times = f"{pair.times:,} of {pair.queries:,} queries"
        ax.text(0.98, 0.5, times, va="center", ha="right", fontsize=11, color=WRONG.colour)
    first = shown.iloc[0]
    set_alt(
        figure,
        f"Table of {len(shown)} pairs of identities that were confused; most often {first['pid']}, taken for "
        f"{first['taken_for']} in {first['times']} of {first['queries']} queries.",
    )
    return figure


@styled
def suspicious_labels(
    suspicions: pd.DataFrame, table: pd.DataFrame | None = None, *, images: Any = None, limit: int = 8
) -> Chart:
    """Draw suspicious labels: the image, the one that contradicts its label, and why.

    Args:
        suspicions: what `retrieval.suspicious_labels` returns, or some of its rows.
        table: image table of the embeddings, whose files are drawn; or give `images`.
        images: pixels by row (see `pictures.image_of`).
        limit: suspicions that are drawn, the first.

    Raises:
        UserError: no suspicion, or no images.
    """
    limit = check_whole("limit", limit, 1, 100)
    if suspicions.empty:
        raise UserError("No label is suspicious: there is nothing to draw.")
    source = table if images is None else images
    if source is None:
        raise UserError("Labels are judged by pictures: give the image table of the embeddings, or images.")
    shown = suspicions.head(limit)
    rows = list(zip(shown["row"].tolist(), shown["other_row"].tolist()))
    figure, texts = _listing(rows, [source, source], 0.95)
    for ax, (kind, score, pid, other, reason) in zip(
        texts, shown[["kind", "score", "pid", "other_pid", "reason"]].itertuples(index=False, name=None)
    ):
        names = plain(cut(pid, 14)) if kind == "merged" else f"{plain(cut(pid, 14))} or {plain(cut(other, 14))}?"
        ax.text(0.02, 0.97, f"{kind} {score:.2f}: {names}", va="top", fontsize=10)
        ax.text(0.02, 0.68, textwrap.fill(plain(reason, 160), 48), va="top", fontsize=8)
    counts = ", ".join(f"{count} {kind}" for kind, count in shown["kind"].value_counts().items())
    set_alt(figure, f"Suspicious identity labels, each beside the image that contradicts it: {counts}.")
    return figure


def _listing(rows: list[tuple[int, int]], sides: list[Any], height: float) -> tuple[Chart, list[Axes]]:
    """Make a figure with a line per pair of images, and room for text on its right; without images for text alone."""
    pictures = sides[0] is not None
    height = 0.95 if pictures else height
    figure = new_figure(6.4 if pictures else 5.2, height * len(rows) + 0.5)
    grid = figure.subplots(len(rows), 3 if pictures else 1, squeeze=False, width_ratios=[1, 1, 4] if pictures else [1])
    for line, pair in zip(grid, rows):
        for ax, side, row, kind in zip(line[:-1], sides, pair, ("query", "wrong")):
            draw_image(ax, image_of(side, row), kind)
            ax.set_xlabel("")
        draw_image(line[-1], None)
        line[-1].set(xlim=(0, 1), ylim=(0, 1))
    return figure, [line[-1] for line in grid]
