"""Figures of image tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from plot_cases import check_axes, check_figure, table

from reidlab.errors import UserError
from reidlab.plots.distribution import (
    distribution_overview,
    identity_camera_map,
    image_sizes,
    images_by_camera,
    images_by_identity,
    images_by_split,
)
from reidlab.plots.style import describe

OF_TABLES = [images_by_identity, images_by_camera, images_by_split, identity_camera_map]


@pytest.mark.parametrize("draw", OF_TABLES)
def test_axes(draw: Callable[..., object]) -> None:
    frame = table()
    before = frame.copy()
    check_axes(draw(frame))
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("draw", [*OF_TABLES, distribution_overview])
@pytest.mark.parametrize("kind", ["one row", "long names", "many"])
def test_odd_tables(draw: Callable[..., object], kind: str) -> None:
    frame = {
        "one row": table(1),
        "long names": table(
            pid=[f"person-in-red-{i % 37}" for i in range(300)], camid=[f"entrance north {i % 9}" for i in range(300)]
        ),
        "many": table(6000, pid=np.arange(6000) % 1501, camid=np.arange(6000) % 45),
    }[kind]
    figure = draw(frame)
    check_figure(figure if draw is distribution_overview else figure.get_figure(root=True))


def test_junk_and_distractors_are_not_identities() -> None:
    frame = table(4, pid=[-1, 0, 5, 5], distractor=[False, True, False, False])
    assert "1 identities, 2 to 2" in describe(images_by_identity(frame))
    with pytest.raises(UserError, match="junk or distractors"):
        images_by_identity(table(2, pid=["-1", "-1"]))


def test_overview_without_cameras() -> None:
    figure = distribution_overview(table().drop(columns="camid"))
    check_figure(figure)
    assert len(figure.axes) == 2


def test_sizes() -> None:
    sizes = pd.DataFrame({"width": [64, 64, 50], "height": [128, 128, 140]})
    ax = image_sizes(sizes)
    check_axes(ax)
    assert "pixels" in ax.get_xlabel() and "2 different sizes" in describe(ax)


@pytest.mark.parametrize("draw", [*OF_TABLES, image_sizes, distribution_overview])
def test_empty_or_foreign_tables(draw: Callable[..., object]) -> None:
    with pytest.raises(UserError, match=r"no rows|no column"):
        draw(table().iloc[:0].assign(width=1, height=1))
    with pytest.raises(UserError, match="no column"):
        draw(pd.DataFrame({"x": [1]}))
    with pytest.raises(UserError, match="top=0"):
        identity_camera_map(table(), top=0)
