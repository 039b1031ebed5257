"""The contact sheet of an audit: findings in a grid, pairs side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reidlab.data.audit import KINDS, Audit
from reidlab.data.contents import RANGE
from reidlab.data.images import decode
from reidlab.errors import UserError, nearest
from reidlab.figure_text import plain
from reidlab.plots.style import Chart, new_figure, set_alt, styled

__all__ = ["findings_sheet"]

_SIZE = (64, 128)  # width, height in pixels of one picture on the sheet
_GAP = 4


@styled
def findings_sheet(audited: Audit, kind: str | None = None, *, n: int = 24, columns: int = 8) -> Chart:
    """Draw the first images of one kind of finding, or of every kind in turn; pairs stand side by side.

    Each has its kind, identity and split above it. Files that do not decode are a crossed-out frame.

    Args:
        audited: what `reidlab.data.audit.audit` returned.
        kind: a name of `reidlab.data.audit.KINDS`; None takes some of each kind.
        n: number of findings shown.
        columns: findings in a row.

    Raises:
        UserError: there is no such kind, or a number below 1.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"There is no kind of finding {kind!r}.{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}.")
    if n < 1 or columns < 1:
        raise UserError(f"n={n} and columns={columns} should be at least 1.")
    issues = _chosen(audited.issues, kind, n)
    columns = min(columns, max(len(issues), 1))
    rows = max(-(-len(issues) // columns), 1)
    figure = new_figure(1.5 * columns, 2.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    if len(issues) == 0:
        grid[0, 0].text(0.5, 0.5, "nothing found", ha="center", va="center")
    for ax, issue in zip(grid.flat, issues.itertuples()):
        _draw(ax, audited.table, audited.images, issue)
    kinds = ", ".join(dict.fromkeys(issues["kind"])) or "nothing found"
    set_alt(figure, f"Findings of the audit, {len(issues)} of {len(audited.issues):,}: {kinds}.")
    return figure


def _chosen(issues: pd.DataFrame, kind: str | None, n: int) -> pd.DataFrame:
    if kind is not None:
        return issues[issues["kind"] == kind].head(n)
    turn = issues.groupby("kind", sort=False).cumcount()
    return issues.loc[turn.sort_values(kind="stable").index[:n]].sort_index()


def _draw(ax: Axes, table: pd.DataFrame, images: pd.DataFrame, issue: object) -> None:
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
