"""The contact sheet of the audit: findings in a grid, pairs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reidlab.data.contents import RANGE
from reidlab.data.images import decode
from reidlab.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_sheet"]

_SIZE = (64, 128)  # width, height in pixels of one picture on the sheet
_GAP = 4


def draw_sheet(table: pd.DataFrame, images: pd.DataFrame, issues: pd.DataFrame, columns: int) -> Figure:
    """Draw each finding with its kind, identity and split above it."""
    from matplotlib.figure import Figure

    columns = min(columns, max(len(issues), 1))
    rows = max(-(-len(issues) // columns), 1)
    figure = Figure(figsize=(1.5 * columns, 2.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    if len(issues) == 0:
        grid[0, 0].text(0.5, 0.5, "nothing found", ha="center", va="center")
    for ax, issue in zip(grid.flat, issues.itertuples()):
        _draw(ax, table, images, issue)
    return figure


def _draw(ax: Axes, table: pd.DataFrame, images: pd.DataFrame, issue: object) -> None:
    from reidlab.figure_text import plain

    members = [row for row in (issue.row, issue.other) if row >= 0]  # type: ignore[attr-defined]
    ranges = images[RANGE].to_numpy()
    plates = [_picture(str(table["path"].iat[row]), ranges[row]) for row in members]
    missing = [plate is None for plate in plates]
    filled = [np.full((_SIZE[1], _SIZE[0], 3), 235, np.uint8) if plate is None else plate for plate in plates]
    gap = np.full((_SIZE[1], _GAP, 3), 255, np.uint8)
    ax.imshow(np.concatenate([filled[0], gap, filled[1]], axis=1) if len(filled) == 2 else filled[0])
    for number, broken in enumerate(missing):
        if broken:
            left = number * (_SIZE[0] + _GAP)
            ax.plot([left, left + _SIZE[0] - 1], [0, _SIZE[1] - 1], color="red", linestyle="--")
            ax.plot([left, left + _SIZE[0] - 1], [_SIZE[1] - 1, 0], color="red", linestyle="--")
    names = " | ".join(f"{plain(table['pid'].iat[row], 16)} {plain(table['split'].iat[row], 12)}" for row in members)
    ax.set_title(f"{issue.kind}\n{names}", fontsize=6)  # type: ignore[attr-defined]


def _picture(path: str, value_range: float) -> np.ndarray | None:
    try:
        return decode(path, _SIZE[::-1], value_range)
    except UserError:
        return None
