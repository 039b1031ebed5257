"""Maps of points in groups: what is drawn, what is said, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from plot_cases import check_axes

from reidlab.errors import UserError
from reidlab.plots.point_maps import PointGroup, point_map
from reidlab.plots.style import describe

GROUPS = (
    PointGroup("others", "#8F8F8F"),
    PointGroup("✗ wrong", "#D55E00", "X", 4.0),
    PointGroup(r"$\frac{", "#0072B2"),
)


def test_every_point_is_drawn_in_its_group() -> None:
    rng = np.random.default_rng(0)
    points, codes = rng.normal(size=(50, 2)), rng.integers(0, 2, 50)
    ax = point_map(points, codes, GROUPS, title="PCA", chosen=np.array([3, 4]))
    check_axes(ax)
    for code in range(3):
        np.testing.assert_array_equal(ax.collections[code].get_offsets(), points[codes == code])
    np.testing.assert_array_equal(ax.collections[3].get_offsets(), points[[3, 4]])
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        f"others ({(codes == 0).sum()})", f"✗ wrong ({(codes == 1).sum()})", r"\$\frac{ (0)", "chosen (2)",
    ]  # fmt: skip
    assert describe(ax) == rf"PCA: 50 points; {(codes == 0).sum()} others, {(codes == 1).sum()} ✗ wrong, 0 $\frac{{."


@pytest.mark.parametrize(
    ("points", "codes", "said"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "0 points"),
        (np.zeros((3, 2)), np.zeros(2, int), "3 points and 2 codes"),
        (np.zeros((2, 2)), np.array([0, 3]), "codes from 0 to 3 do not belong to 3 groups"),
        (np.zeros((2, 2)), np.array([-1, 0]), "codes from -1"),
    ],
)
def test_what_is_refused(points: np.ndarray, codes: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        point_map(points, codes, GROUPS)
