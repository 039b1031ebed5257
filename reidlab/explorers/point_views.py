"""What is said of points and of their images: legend, one image, many images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import pandas as pd
from jaxtyping import Int64

from reidlab.data.schema import is_distractor, is_junk
from reidlab.explorers.grid import item
from reidlab.explorers.pictures import Picture, data_uri
from reidlab.explorers.points import FARED, Groups, who
from reidlab.explorers.twins import text
from reidlab.figure_text import cut
from reidlab.plots.style import MARKS, WRONG
from reidlab.retrieval.outcome import RetrievalResult

__all__ = ["chosen_sentence", "detail_html", "legend_html", "map_sentence", "point_item"]

_SIGNS = ("", "ignored", "right", "wrong")  # in the order of FARED
_NAMED = 5  # identities that a sentence names


def legend_html(groups: Groups) -> str:
    """Return what the colours mean and how many points have each; large points are drawn large here too."""
    entries = []
    for group, count in zip(groups.groups, groups.counts()):
        side = 0.7 if group.size == 1 else 0.85 if group.size == 2 else 1.0
        dot = (
            f'<span aria-hidden="true" style="display:inline-block;width:{side}em;height:{side}em;border-radius:50%;'
            f'background-color:{group.colour};margin-right:4px"></span>'
        )
        entries.append(f'<span style="white-space:nowrap">{dot}{text(cut(group.name, 28))} ({count:,})</span>')
    return f'<div style="display:flex;flex-wrap:wrap;gap:2px 14px">{"".join(entries)}</div>'


def point_item(
    table: pd.DataFrame, outcome: Int64[np.ndarray, " image"], row: int, result: RetrievalResult | None
) -> dict[str, str]:
    """Return what a grid shows of an image: identity, camera, split, file; of a query how it fared."""
    pid = who(table, row)
    camera = f"camera {cut(table['camid'].iloc[row], 12)}" if "camid" in table else ""
    where = ", ".join(filter(None, [camera, cut(table["split"].iloc[row], 12)]))
    name = cut(PurePath(str(table["path"].iloc[row])).name, 40) if "path" in table else f"row {row}"
    told = FARED[outcome[row]].lstrip("✓✗– ") if outcome[row] else ""
    score = _average_precision(outcome, row, result)
    detail = " · ".join(filter(None, [score, where, name]))
    return item(str(row), pid, detail, _SIGNS[outcome[row]], ", ".join(filter(None, [pid, where, told, score])))


def _average_precision(outcome: Int64[np.ndarray, " image"], row: int, result: RetrievalResult | None) -> str:
    """Return a query's AP in words; rows of a result are the table's queries in their order."""
    if not outcome[row] or result is None or "ap" not in result.per_query:
        return ""
    score = float(result.per_query["ap"].iloc[int((outcome[:row] > 0).sum())])
    return "" if np.isnan(score) else f"AP {score:.0%}"


def detail_html(shown: dict[str, str] | None, picture: Picture | None) -> str:
    """Return one image with all that is known of it; a sentence on what to do where there is none."""
    if shown is None or picture is None:
        return "<p><small>Hover over a point, or choose an image below, to see it here.</small></p>"
    mark = MARKS.get(shown["sign"])
    sign = f'<strong style="color:{mark.colour}">{mark.sign}</strong> ' if mark else ""
    known = shown["alt"].removeprefix(shown["caption"]).lstrip(", ")
    lines = [*known.split(", "), shown["detail"].rsplit(" · ", 1)[-1], picture.reason]
    small = "".join(f"<br><small>{text(line)}</small>" for line in lines if line)
    return (
        f'<figure style="margin:0;overflow-wrap:anywhere"><img src="{data_uri(picture.data)}" '
        f'alt="{text(shown["alt"])}" style="height:176px;max-width:100%;display:inline-block">'
        f"<figcaption>{sign}<strong>{text(shown['caption'])}</strong>{small}</figcaption></figure>"
    )


def chosen_sentence(table: pd.DataFrame, outcome: Int64[np.ndarray, " image"], chosen: Sequence[int], most: int) -> str:
    """Return in escaped HTML who is among the chosen images.

    Args:
        table: image table.
        outcome: of `points.fared`.
        chosen: rows of the table.
        most: how many of them are shown at most.
    """
    if not len(chosen):
        return "No image is chosen: draw a lasso around points, or write an identity."
    part = table.iloc[list(chosen)]
    known = part[~(is_junk(part) | is_distractor(part))]
    counts = known["pid"].value_counts()
    people = ", ".join(f"{text(cut(pid, 16))} ({count:,})" for pid, count in counts.iloc[:_NAMED].items())
    more = f" and {len(counts) - _NAMED:,} others" if len(counts) > _NAMED else ""
    cameras = f", {_count(part['camid'].nunique(), 'camera')}" if "camid" in table else ""
    found = np.bincount(outcome[list(chosen)], minlength=len(FARED))
    queries = f"; of {_count(int(found[1:].sum()), 'query')} {found[3]:,} wrong ✗" if found[1:].any() else ""
    left = f" The first {most:,} are shown." if len(chosen) > most else ""
    nobody = f" and {_count(len(part) - len(known), 'image')} of nobody" if len(known) < len(part) else ""
    named = f" Identities (images): {people}{more}." if people else ""
    return (
        f"<strong>{_count(len(chosen), 'image')} chosen</strong>: {_count(len(counts), 'identity')}{nobody}{cameras}"
        f"{queries}.{named}{left}"
    )


def map_sentence(drawn: int, images: int, wrong: int | None, method: str) -> str:
    """Return how many of the images a map draws, how many of them are wrong queries, and what it must not be read for.

    Args:
        drawn: points on the map.
        images: of the table.
        wrong: queries on the map whose first image is another person; None: nobody knows.
        method: "pca" or another one.
    """
    of = f" of {images:,}" if drawn < images else ""
    told = "" if wrong is None else f" {wrong:,} queries are wrong ({WRONG.sign})."
    note = "" if method == "pca" else " Distances between far groups mean nothing."
    return f"{drawn:,}{of} images.{told}{note}"


def _count(number: int, word: str) -> str:
    plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number:,} {word if number == 1 else plural}"
