"""Figures of gates: what is drawn is what is given, and said in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reidlab import plots
from reidlab.errors import UserError

GATES = pd.DataFrame({"small": [0.25, 0.9, 0.5], "large": [0.75, 0.1, 0.5]}, index=[1, 2, 3])


def test_bars_are_as_long_as_gates() -> None:
    figure = plots.gate_bars({"a": GATES, "b": GATES.iloc[:2]})
    assert len(figure.axes) == 2
    lengths = [[patch.get_width() for patch in ax.patches] for ax in figure.axes]
    np.testing.assert_allclose(lengths[0], [25, 90, 50, 75, 10, 50])
    np.testing.assert_allclose(lengths[1], [25, 90, 75, 10])
    assert [patch.get_x() for patch in figure.axes[0].patches][3:] == [25, 90, 50], "one upon the other"
    assert "1 small 25, large 75" in plots.describe(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["small", "large"]


def test_the_map_is_sorted_by_the_first_expert() -> None:
    figure = plots.gate_map(GATES)
    (image,) = figure.axes[0].images
    np.testing.assert_allclose(image.get_array(), [[25, 50, 90], [75, 50, 10]])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "3", "2"]
    assert "small from 25 % to 90 %, median 50 %" in plots.describe(figure)
    named = plots.gate_map(GATES, marked=[2])
    assert [text.get_text() for text in named.axes[0].get_xticklabels()] == ["2"]
    many = pd.DataFrame({"a": np.linspace(0, 1, 300), "b": np.linspace(1, 0, 300)})
    assert not plots.gate_map(many).axes[0].get_xticklabels() and "300 of them" in str(
        plots.gate_map(many).axes[0].get_xlabel()
    )


def test_what_is_refused() -> None:
    for bad, said in ((GATES[["small"]], "no gates"), (GATES.iloc[:0], "no gates"), (GATES * 2, "sum to 1")):
        with pytest.raises(UserError, match=said):
            plots.gate_map(bad)
        with pytest.raises(UserError, match=said):
            plots.gate_bars({"a": bad})
    with pytest.raises(UserError, match="a mixture or more"):
        plots.gate_bars({})
