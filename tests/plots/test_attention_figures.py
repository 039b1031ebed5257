"""Figures of attention maps: their panels, what they say, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from plot_cases import check_figure, people

from reidlab import plots
from reidlab.errors import UserError
from reidlab.plots.style import describe

MAPS = {"activation": np.random.default_rng(0).random((3, 4, 2)), "cbam_spatial": np.full((3, 8, 4), 0.5)}


def test_a_grid_has_a_row_an_image_and_a_column_a_method() -> None:
    figure = plots.attention_grid(people(3), MAPS, ["id 1", "id 2", "id 3"], title="worst")
    check_figure(figure)
    assert len(figure.axes) == 3 * 3 + 1 and [ax.get_title() for ax in figure.axes[:2]] == ["image", "activation"]
    assert [len(ax.images) for ax in figure.axes[:3]] == [1, 2, 2], "the image, and maps over it"
    assert np.array_equal(figure.axes[4].images[1].get_array(), MAPS["activation"][1].astype(np.float32))
    assert "3 images, each with activation, cbam_spatial" in describe(figure)


def test_six_panels() -> None:
    maps = {"CBAM-4 spatial": np.eye(8, 4) / 2, "CBAM-5 spatial": np.eye(8, 4), "feature map": np.ones((8, 4))}
    figure = plots.six_panels(people(1)[0], maps, title="a query")
    check_figure(figure)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["original", *maps, "overlay", "heat map only"]
    bars = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    assert len(bars) == 5 and [label.get_text() for label in bars[0].get_yticklabels()] == ["0.00", "0.25", "0.50"]
    check_figure(plots.six_panels(people(1)[0], {"activation": np.zeros((4, 2))}))


def test_pairs_share_a_scale_and_show_right_and_wrong() -> None:
    parts = [(np.array([[0.1, -0.3]]), np.array([[0.2], [0.1]])), (np.zeros((2, 2)), np.zeros((2, 2)))]
    figure = plots.pair_figure(parts, people(2), people(2), [0.3, 0.0], ["wrong", "right"], ["a", "b"])
    check_figure(figure)
    maps = [image for ax in figure.axes for image in ax.images if image.get_cmap().name == "RdBu_r"]
    assert (
        len(maps) == 4
        and [(image.norm.vmin, image.norm.vmax) for image in maps[:2]]
        == [(pytest.approx(-0.3), pytest.approx(0.3))] * 2
    )
    assert "wrong 0.300, right 0.000" in describe(figure)


def measures() -> pd.DataFrame:
    rows = [
        (method, measure, value, value - 0.1, value + 0.1)
        for measure in ("person", "deletion")
        for method, value in (("uniform", 0.3), ("gradcam", 0.5), ("random", 0.4))
        if (method, measure) != ("uniform", "deletion")
    ]
    return pd.DataFrame(rows, columns=["method", "measure", "mean", "low", "high"])


def test_measures_stand_beside_the_best_baseline() -> None:
    figure = plots.agreement_figure(measures())
    check_figure(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["gradcam", "uniform", "random"], "methods, then maps that look at nothing"
    best = [line.get_xdata()[0] for ax in figure.axes for line in ax.lines if line.get_linestyle() == ":"]
    assert best == [pytest.approx(40), pytest.approx(0.4)]


def test_curves() -> None:
    rows = [("gradcam", kind, share, 1 - share) for kind in ("deletion", "insertion") for share in (0.0, 0.5, 1.0)]
    figure = plots.deletion_curves(pd.DataFrame(rows, columns=["method", "kind", "share", "similarity"]))
    check_figure(figure)
    assert [ax.get_title() for ax in figure.axes] == ["deletion", "insertion"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [0, 50, 100]


REFUSED: list[Any] = [
    (lambda: plots.attention_grid(people(3), {}), "at least one image"),
    (lambda: plots.attention_grid(people(3), {"a": np.ones((3, 2))}), r"a must be finite maps \[image, row, column\]"),
    (lambda: plots.attention_grid(people(3), MAPS, ["a"]), "captions has 1 entries for 3"),
    (lambda: plots.six_panels(people(1)[0], {}), "one to three maps"),
    (lambda: plots.six_panels(people(1)[0], {"a": np.ones((2, 2))}, heat="b"), "'b'"),
    (lambda: plots.pair_figure([], [], [], [], []), "at least one pair"),
    (lambda: plots.pair_figure([(np.eye(2), np.eye(2))], people(1), people(1), [1.0], []), "0 kinds"),
    (lambda: plots.agreement_figure(pd.DataFrame({"method": []})), "has no column 'high'"),
    (lambda: plots.agreement_figure(measures().assign(measure="x")), "none of the measures"),
    (lambda: plots.deletion_curves(pd.DataFrame({"method": []})), "no column 'kind'"),
]


@pytest.mark.parametrize(("call", "words"), REFUSED)
def test_refused(call: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
