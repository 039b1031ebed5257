"""Figures of corrupted images and of the scores on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from plot_cases import check_figure, people

from reidlab import plots
from reidlab.data.transforms.corruptions import CORRUPTIONS
from reidlab.errors import UserError
from reidlab.plots.style import describe


def scores(models: tuple[str, ...] = ("small", "$x_1$"), names: tuple[str, ...] = ("fog", "jpeg")) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for i, model in enumerate(models):
        for name, severity in [("", 0), *((name, severity) for name in names for severity in (1, 3, 5))]:
            score = (0.8 - 0.1 * i) / (1 + severity)
            rows.append({"model": model, "corruption": name, "severity": severity, "mAP": score})
    frame = pd.DataFrame(rows)
    return frame.assign(low=frame["mAP"] - 0.05, high=frame["mAP"] + 0.05, rank1=0.5, run="x")


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_a_panel_a_corruption_and_a_line_a_model(n: int) -> None:
    names = tuple(list(CORRUPTIONS)[:n])
    figure = plots.robustness_figure(scores(names=names))
    check_figure(figure)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == [name.replace("_", " ") for name in names]
    for ax in panels:
        one, other = ax.get_lines()
        assert np.allclose(one.get_xdata(), [0, 1, 3, 5]), "clean, then the severities"
        assert np.allclose(one.get_ydata(), [80, 40, 20, 80 / 6])
        assert one.get_linestyle() != other.get_linestyle() and one.get_marker() != other.get_marker()
        assert len(ax.collections) == 2, "an interval each"
        assert ax.get_ylim() == (0, 100)
    assert plots.robustness_figure(scores(names=names).assign(mAP=0.2, high=0.26)).axes[0].get_ylim() == (0, 50)
    words = describe(figure)
    assert "small 80 % clean" in words and f"{names[0]} 13 %" in words


def test_without_intervals_and_in_any_order() -> None:
    frame = scores().assign(low=np.nan, high=np.nan).sample(frac=1, random_state=0)
    figure = plots.robustness_figure(frame)
    check_figure(figure)
    assert all(list(line.get_xdata()) == [0, 1, 3, 5] for line in figure.axes[0].get_lines())


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (scores().drop(columns="low"), "no column 'low'"),
        (scores().query("corruption == ''"), "no corruption"),
        (scores().query("corruption != ''"), "no clean score of small"),
        (scores().iloc[:0], "no corruption"),
    ],
)
def test_scores_that_cannot_be_drawn(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plots.robustness_figure(frame)


def test_pictures_of_all_corruptions() -> None:
    figure = plots.corruption_figure(people(2), severities=(1, 5))
    check_figure(figure)
    written = [text.get_text() for text in figure.texts]
    assert written.count("clean") == 2 and written.count("5") == 2 and "severity of the corruption" in written
    assert [name.replace("_", " ") for name in CORRUPTIONS] == [
        text for text in written if text.replace(" ", "_") in CORRUPTIONS
    ]
    assert len(figure.axes) == len(CORRUPTIONS)
    strip = np.asarray(figure.axes[0].get_images()[0].get_array())
    assert np.array_equal(strip[:, :8], people(2)[0]), "the first is clean"


@pytest.mark.parametrize(
    ("images", "options", "said"),
    [
        (people(0), {}, "at least one"),
        (people(1).astype(float), {}, "Images must be uint8"),
        (people(1), {"corruptions": ["fogg"]}, "corruption 'fogg' is unknown"),
        (people(1), {"severities": []}, "At least one severity"),
        (people(1), {"severities": [0]}, "severity=0"),
    ],
)
def test_pictures_that_cannot_be_drawn(images: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plots.corruption_figure(images, **options)
