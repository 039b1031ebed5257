"""Figures of what losses do: arrows on a batch in the plane, which images they move, and when they fall silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from reidlab.errors import UserError
from reidlab.figure_text import plain
from reidlab.plots.style import PALETTE, Chart, axes_or_new, new_figure, set_alt, styled

if TYPE_CHECKING:  # it imports torch, which drawing does without
    from reidlab.losses.probe import Probe

__all__ = ["loss_forces", "loss_progress", "loss_shares"]

_SIGNS = "osD^vP*X"  # one an identity, beside its colour
_LONGEST = 0.7  # of the arrows of a panel
_STILL = 0.01  # share of the strongest force below which a point counts as left alone


@styled
def loss_forces(
    points: npt.ArrayLike, labels: npt.ArrayLike, probes: Mapping[str, Probe], *, columns: int = 4
) -> Chart:
    """Draw a batch in the plane once per loss, with an arrow from every point to where the loss would move it.

    Lengths grow with the root of the force, and the longest of each panel is equally long: compare directions and who
    moves, not sizes of different losses. Points that move less than a hundredth of the most moved one are hollow.

    Args:
        points: [batch, 2].
        labels: identities [batch].
        probes: by loss, with forces [batch, 2].
        columns: panels beside each other.

    Raises:
        UserError: points that do not lie in a plane, or nothing to draw.
    """
    at, who = np.asarray(points, dtype=np.float64), np.asarray(labels)
    if at.ndim != 2 or at.shape[1] != 2 or who.shape != at.shape[:1]:
        raise UserError(f"points must be [batch, 2] and labels [batch]; got {list(at.shape)} and {list(who.shape)}.")
    if not probes:
        raise UserError("There is no loss to draw.")
    columns = min(columns, len(probes))
    rows = -(-len(probes) // columns)
    figure = new_figure(2.7 * columns, 2.95 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    reach = max(1.0, float(np.abs(at).max())) + 0.6 * _LONGEST
    for ax, found in zip(grid.ravel(), probes.values()):
        _panel(ax, at, who, found, reach)
    for ax in grid.ravel()[len(probes) :]:
        ax.set_axis_off()
    figure.supxlabel("first dimension of the embedding", fontsize=10)
    figure.supylabel("second dimension of the embedding", fontsize=10)
    names = ", ".join(probes)
    n_people = len(np.unique(who))
    set_alt(
        figure,
        f"{len(at)} points of {n_people} identities in the plane, with arrows where each loss moves them: {names}.",
    )
    return figure


def _panel(ax: Axes, at: npt.NDArray[np.float64], who: npt.NDArray[Any], found: Probe, reach: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 181)
    ax.plot(np.cos(turn), np.sin(turn), color="#BBBBBB", linewidth=0.8, zorder=1)
    strengths = found.strengths
    strongest = float(strengths.max(initial=0.0))
    moved = strengths > _STILL * strongest if strongest else np.zeros(len(at), dtype=bool)
    for number, person in enumerate(np.unique(who)):
        colour, sign = PALETTE[number % len(PALETTE)], _SIGNS[number % len(_SIGNS)]
        for chosen, face in ((moved, colour), (~moved, "white")):
            here = chosen & (who == person)
            ax.scatter(
                at[here, 0],
                at[here, 1],
                s=22,
                marker=sign,
                facecolors=face,
                edgecolors=colour,
                linewidths=1.1,
                zorder=3,
            )
    if moved.any():
        arrows = _LONGEST * found.forces[moved] / np.sqrt(strengths[moved] * strongest)[:, None]
        how: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.01, "headwidth": 4}
        ax.quiver(at[moved, 0], at[moved, 1], arrows[:, 0], arrows[:, 1], color="#222222", zorder=2, **how)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    ax.set_title(f"{plain(found.name, 30)}\nactive {100 * found.stats['active_share']:.0f} %", fontsize=10)


@styled
def loss_shares(labels: npt.ArrayLike, probes: Mapping[str, Probe], *, ax: Axes | None = None) -> Axes:
    """Draw which images of a batch each loss moves: rows are losses, columns images, shades shares of the gradient.

    Args:
        labels: identities [batch]; images are ordered by them.
        probes: by loss, with forces [batch, dim].
        ax: where.

    Raises:
        UserError: nothing to draw.
    """
    who = np.asarray(labels)
    if not probes or not len(who):
        raise UserError("There is no loss to draw.")
    order = np.argsort(who, kind="stable")
    strengths = np.stack([found.strengths[order] for found in probes.values()])
    totals = strengths.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(strengths, totals, out=np.zeros_like(strengths), where=totals > 0)
    ax = axes_or_new(ax, 9, 0.28 * len(probes) + 1.4)
    even = 100 / len(who)
    image = ax.imshow(shares, aspect="auto", cmap="viridis", vmin=0, vmax=3 * even, interpolation="nearest")
    ax.grid(False)
    ax.set_yticks(range(len(probes)), [plain(name) for name in probes])
    for border in np.flatnonzero(np.diff(np.unique(who[order], return_inverse=True)[1])):
        ax.axvline(border + 0.5, color="white", linewidth=0.8)
    ax.set(xlabel="image of the batch, by identity (white lines)", ylabel="loss")
    figure = ax.get_figure()
    assert figure is not None
    figure.colorbar(image, ax=ax, extend="max", label=f"share of the gradient (%; even: {even:.1f})")
    most = ", ".join(f"{name} {row.max():.0f} %" for name, row in zip(probes, shares))
    set_alt(
        ax,
        f"Shares of the gradient of {len(who)} images under {len(probes)} losses; the most moved image gets: {most}.",
    )
    return ax


@styled
def loss_progress(active: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the active shares of losses while a batch is brought in order.

    Args:
        active: active shares, 0 to 1: a row per loss, a column per share (0 to 1) of the way to the identities' means.
        ax: where.

    Raises:
        UserError: nothing to draw.
    """
    if active.empty:
        raise UserError("There is no active share to draw.")
    percent = 100 * active.to_numpy(dtype=np.float64)
    ax = axes_or_new(ax, 1.1 * percent.shape[1] + 2.6, 0.28 * len(percent) + 1)
    ax.imshow(percent, aspect="auto", cmap="Greens", vmin=0, vmax=180, interpolation="nearest")
    ax.grid(False)
    ax.set_xticks(range(percent.shape[1]), [f"{100 * way:.0f} %" for way in active.columns])
    ax.set_yticks(range(len(percent)), [plain(name) for name in active.index])
    for (row, column), value in np.ndenumerate(percent):
        ax.text(column, row, f"{value:.0f} %", ha="center", va="center", fontsize=9)
    ax.set(xlabel="way of every image to its identity's mean", ylabel="loss")
    ends = ", ".join(f"{name} {row[0]:.0f} to {row[-1]:.0f} %" for name, row in zip(active.index, percent))
    set_alt(ax, f"Active shares of losses while images come nearer to their identities' means: {ends}.")
    return ax
