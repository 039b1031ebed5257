"""Figures of autoencoders show the numbers that they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from plot_cases import check_axes, check_figure, people

from reidlab import plots
from reidlab.errors import UserError
from reidlab.plots.style import describe

DIFFERENCES = pd.DataFrame(
    {"label": ["ae", "vae"], "difference": [0.02, -0.1], "low": [-0.01, -0.2], "high": [0.05, -0.05]}
).assign(noise=[True, False])


def test_decoded_rows() -> None:
    figure = plots.decoded_figure({"image": people(3), "ae": people(3)}, ["a", "b", "c"])
    check_figure(figure)
    assert len(figure.axes) == 2 and "image, ae" in describe(figure)
    drawn = figure.axes[0].get_images()[0].get_array()
    assert drawn is not None and np.array_equal(drawn[:, :8], people(3)[0])
    for rows, heads, said in (
        ({}, ["a"], "nothing to draw"),
        ({"ae": people(3)}, [], "nothing to draw"),
        ({"ae": people(3)}, ["a", "b"], r"'ae' must be uint8 \[2, .*got uint8 \[3, 16, 8, 3\]"),
        ({"ae": people(3) / 255}, ["a", "b", "c"], "float64"),
    ):
        with pytest.raises(UserError, match=said):
            plots.decoded_figure(rows, heads)


def test_activity_by_hand() -> None:
    codes = np.array([[1.0, 0, 0, 0], [5, -5, 0.01, 0], [2, 2, 0, 0]])  # 25, 50 and 50 % in use
    ax = plots.activity_histogram({"ae": codes, "vae": np.ones((2, 4))})
    check_axes(ax)
    steps: Any = ax.patches[0]
    heights, edges, _ = steps.get_data()
    assert {float(edge): round(float(height)) for height, edge in zip(heights, edges) if height} == {25.0: 33, 50.0: 67}
    assert "ae median 50 %, vae median 100 %" in describe(ax)
    for given in ({}, {"ae": np.ones(3)}, {"ae": np.ones((0, 3))}):
        with pytest.raises(UserError):
            plots.activity_histogram(given)


def test_a_term_has_lines_of_those_that_have_it() -> None:
    plain = pd.DataFrame({"epoch": [1, 2], "loss": [1.0, 2], "loss_triplet": [0.5, 0.25]})
    figure = plots.term_curves({"plain": plain, "vae": plain.assign(loss_vae_kl=[3.0, 2.0])})
    check_figure(figure)
    assert [ax.get_title() for ax in figure.axes] == ["triplet", "vae kl"]
    assert [len(ax.lines) for ax in figure.axes] == [2, 1]
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.5, 0.25]
    with pytest.raises(UserError, match="loss_<term>"):
        plots.term_curves({"plain": plain[["epoch", "loss"]]})


def test_what_may_be_chance_is_hollow() -> None:
    ax = plots.difference_figure(DIFFERENCES)
    check_axes(ax)
    spans = [list(line.get_xdata()) for line in ax.lines]
    np.testing.assert_allclose(spans[0], [-1, 5])
    assert spans[1] == [2] and ax.lines[1].get_markerfacecolor() == "white"
    assert ax.lines[3].get_markerfacecolor() != "white" and ax.lines[2].get_linestyle() == "-"
    assert "ae +2.0 (-1.0 to +5.0), may be chance; vae -10.0" in describe(ax)
    for given, said in ((DIFFERENCES[:0], "no row"), (DIFFERENCES.drop(columns="noise"), "no column 'noise'")):
        with pytest.raises(UserError, match=said):
            plots.difference_figure(given)
