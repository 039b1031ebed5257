"""How a triplet is drawn: three pictures, and bars of its distances."""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple

import pandas as pd
from jaxtyping import Int64
from numpy import ndarray

from reidlab.data.triplets import ROLES
from reidlab.explorers.pictures import Picture, Thumbnails, data_uri
from reidlab.explorers.twins import text
from reidlab.figure_text import cut
from reidlab.plots.style import QUERY, RIGHT, WRONG, Mark

__all__ = ["Scored", "triplet_html"]


class Scored(NamedTuple):
    """What the triplet loss makes of one triplet; margin None: the soft margin."""

    d_ap: float
    d_an: float
    loss: float
    active: bool
    margin: float | None
    unit: str


def triplet_html(table: pd.DataFrame, rows: Int64[ndarray, " 3"], thumbnails: Thumbnails, scored: Scored | None) -> str:
    """Return a triplet as HTML without script: pictures with identity and camera, distances, loss.

    A positive of another identity, or a negative of the anchor's, is called a label fault.

    Args:
        table: image table.
        rows: anchor, positive, negative.
        thumbnails: pictures of the table.
        scored: distances and loss, or None where no model was given.
    """
    pids = table["pid"].to_numpy()[rows]
    cards = []
    for role, image, mark in zip(ROLES, rows.tolist(), (QUERY, RIGHT, WRONG)):
        fault = role != "anchor" and (table["pid"].iloc[image] == pids[0]) != (role == "positive")
        where = f"identity {cut(table['pid'].iloc[image], 24)}"
        where += f", camera {cut(table['camid'].iloc[image], 12)}" if "camid" in table else ""
        name = PurePath(str(table["path"].iloc[image])).name if "path" in table else f"row {image}"
        caption = f"{mark.sign} {role}{', label fault ⚠' if fault else ''}"
        cards.append(_card(thumbnails.get(image), mark, caption, [where, cut(name, 40)]))
    pictures = f'<div style="display:flex;gap:6px;max-width:640px">{"".join(cards)}</div>'
    return pictures + (_bars(scored) if scored else "")


def _card(picture: Picture, mark: Mark, caption: str, lines: list[str]) -> str:
    """Draw a picture that shares the width with two others, also on the narrowest page."""
    small = "".join(f"<br><small>{text(line)}</small>" for line in (*lines, picture.reason) if line)
    alt = text(", ".join(filter(None, [caption.removeprefix(mark.sign).strip(), lines[0], picture.reason])))
    return (
        f'<figure style="flex:1 1 0;min-width:0;margin:0;padding:2px;box-sizing:border-box;overflow-wrap:anywhere;'
        f'text-align:center;border:3px {mark.line} {mark.colour}"><img src="{data_uri(picture.data)}" alt="{alt}" '
        f'style="width:100%;height:auto;max-width:150px;display:inline-block">'
        f"<figcaption><strong>{text(caption)}</strong>{small}</figcaption></figure>"
    )


def _bars(scored: Scored) -> str:
    """Draw both distances, and how far the negative has to be, to one scale."""
    goal = None if scored.margin is None else scored.d_ap + scored.margin
    longest = max(scored.d_ap, scored.d_an, goal or 0, 1e-9)
    lines = [
        ("to the positive", scored.d_ap, RIGHT.colour, "solid"),
        ("to the negative", scored.d_an, WRONG.colour, "dashed"),
    ]
    if goal is not None:
        lines.append(("positive + margin", goal, QUERY.colour, "dotted"))
    left, right = "text-align:left;white-space:nowrap", "text-align:right;white-space:nowrap"
    rows = "".join(
        f'<tr><td style="{left}">{label}</td><td style="{right}">{value:.3f}</td>'
        f'<td style="width:55%;text-align:left"><div style="width:{100 * value / longest:.1f}%;height:0.6em;'
        f'box-sizing:border-box;border:2px {line} {colour};background-color:{colour}55"></div></td></tr>'
        for label, value, colour, line in lines
    )
    sign = "✗ active: the loss still pulls at it" if scored.active else "✓ not active: far enough apart"
    head = f"<caption>Distances of the anchor ({text(scored.unit)}, no unit)</caption>"
    loss = f"<p><strong>{sign}</strong>; loss {scored.loss:.4f}</p>"
    return f'<table style="width:100%;max-width:640px;margin:8px 0">{head}{rows}</table>{loss}'
