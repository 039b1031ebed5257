"""The figure of a student's and its teacher's cosines."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from reidlab import plots
from reidlab.errors import UserError


def pairs(n: int, slope: float) -> SimpleNamespace:
    said = np.linspace(-0.9, 0.9, n)
    return SimpleNamespace(teacher=said, student=slope * said, same=said > 0.5)


def points(ax: Any, kind: int = 0) -> np.ndarray:
    """Return what is drawn of two people (0) or one person (1)."""
    return np.asarray(ax.collections[kind].get_offsets())


def test_panels_for_students() -> None:
    figure = plots.cosine_agreement(
        {"like": pairs(40, 1.0), "less": pairs(40, 0.2), "a": pairs(9, 1), "b": pairs(9, -1)}
    )
    panels = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title() for ax in panels] == ["like: r = 1.00", "less: r = 1.00", "a: r = 1.00", "b: r = -1.00"]
    assert [len(points(ax)) for ax in panels] == [31, 31, 7, 7]
    assert [len(points(ax, 1)) for ax in panels] == [9, 9, 2, 2]
    drawn = points(panels[1])
    np.testing.assert_allclose(drawn[:, 1], 0.2 * drawn[:, 0])
    assert drawn[:, 0].min() == -0.9
    assert "like 1.00; less 1.00; a 1.00; b -1.00" in plots.describe(figure)
    assert {ax.get_xlabel() for ax in panels[1:]} == {"teacher's cosine"}


def test_many_pairs_are_drawn_in_part() -> None:
    figure = plots.cosine_agreement({"x": pairs(20_000, 0.5)})
    assert [len(points(figure.axes[0], kind)) for kind in (0, 1)] == [1500, 1500]


def test_refused() -> None:
    with pytest.raises(UserError, match="no students"):
        plots.cosine_agreement({})
    odd = pairs(5, 1.0)
    odd.student = odd.student[:4]
    with pytest.raises(UserError, match=r"odd: .* are of \[5, 4, 5\] pairs"):
        plots.cosine_agreement({"odd": odd})
    with pytest.raises(UserError, match=r"\[0, 0, 0\]"):
        plots.cosine_agreement({"none": pairs(0, 1.0)})
