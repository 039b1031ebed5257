"""Figures of distillation: what a student's cosines are where its teacher's are so and so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reidlab.errors import UserError
from reidlab.figure_text import cut, plain
from reidlab.plots.style import RIGHT, WRONG, Chart, new_figure, set_alt, styled

__all__ = ["cosine_agreement"]

_MOST = 1500  # points of a kind in a panel
_WIDE = 3  # panels beside each other


@styled
def cosine_agreement(pairs: Mapping[str, Any], *, seed: int = 0) -> Chart:
    """Draw cosines of pairs of images: the teacher's across, the student's upwards, a panel for each student.

    Args:
        pairs: by student, with `teacher`, `student` (cosines [pair]) and `same` (one person? [pair]).
        seed: of the pairs that are drawn where there are many.

    Raises:
        UserError: no student, no pair, or lengths that differ.
    """
    if not pairs:
        raise UserError("There are no students to draw: give one or more.")
    for name, found in pairs.items():
        lengths = [len(found.teacher), len(found.student), len(found.same)]
        if len(set(lengths)) > 1 or not lengths[0]:
            raise UserError(f"{name}: teacher, student and same are of {lengths} pairs; as many are needed, some.")
    columns = min(_WIDE, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = new_figure(0.6 + 2.7 * columns, 0.6 + 2.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    handles: dict[str, Any] = {}
    told = []
    for place, (name, found) in enumerate(pairs.items()):
        ax = grid.flat[place]
        for mark, what, is_same in ((WRONG, "two people", False), (RIGHT, "one person", True)):
            chosen = np.flatnonzero(found.same == is_same)
            chosen = np.random.default_rng(seed).permutation(chosen)[:_MOST]
            sign = {"marker": "^", "s": 7} if is_same else {"marker": "o", "s": 5}
            points: Any = {"color": mark.colour, "alpha": 0.35, "linewidths": 0, **sign}
            handles[what] = ax.scatter(found.teacher[chosen], found.student[chosen], **points)
        (handles["as the teacher"],) = ax.plot([-1, 1], [-1, 1], color="black", linewidth=1, linestyle="--")
        together = float(np.corrcoef(found.teacher, found.student)[0, 1])
        ax.set_title(f"{plain(cut(name, 24))}: r = {together:.2f}", fontsize=10)
        ax.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
        told.append(f"{name} {together:.2f}")
        if place // columns == rows - 1 or place + columns >= len(pairs):
            ax.set_xlabel("teacher's cosine")
            ax.tick_params(labelbottom=True)
        if place % columns == 0:
            ax.set_ylabel("student's cosine")
    for ax in grid.flat[len(pairs) :]:
        ax.set_axis_off()
    legend = figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=3)
    shown: list[Any] = list(legend.legend_handles)
    for handle in shown[:2]:  # points that can be seen
        handle.set(alpha=1, sizes=[30])
    set_alt(
        figure,
        "Cosines of pairs of test images, the teacher's across and the student's upwards, with their correlation: "
        f"{'; '.join(told)}.",
    )
    return figure
