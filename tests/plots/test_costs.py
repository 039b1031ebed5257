"""The figure of costs against speed, and names that do not lie on each other."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation
from plot_cases import check_axes

from reidlab.errors import UserError
from reidlab.plots.costs import cost_chart
from reidlab.plots.labels import place_labels
from reidlab.plots.style import axes_or_new, describe


def costs(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    macs = 10 ** rng.uniform(7.8, 10.3, n)
    speed = 3e10 / macs * 10 ** rng.normal(0, 0.25, n)
    frame = pd.DataFrame({"macs": macs, "parameters": macs / 100, "evaluation": speed, "training": speed / 3.3})
    frame.index = pd.Index([f"network_{'long_' * (i % 3)}{i}" for i in range(n)])
    return frame


def names(ax: object) -> list[Annotation]:
    return [text for text in ax.texts if isinstance(text, Annotation) and text.get_text().startswith("network")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("n", "cost"), [(1, "macs"), (2, "parameters"), (6, "macs"), (40, "macs"), (40, "parameters")])
def test_names_lie_apart_and_inside(n: int, cost: str) -> None:
    frame = costs(n)
    ax = cost_chart(frame, cost=cost)  # type: ignore[arg-type]
    check_axes(ax)
    labels = names(ax)
    assert sorted(label.get_text() for label in labels) == sorted(frame.index)
    assert all(label.xy == tuple(frame.loc[label.get_text(), [cost, "evaluation"]]) for label in labels)
    boxes = [label.get_window_extent() for label in labels]
    written = [*boxes, *(text.get_window_extent() for text in ax.texts if text.get_text().endswith("MAC/s"))]
    written.append(ax.get_legend().get_window_extent())  # type: ignore[union-attr]
    for one, other in combinations(written, 2):
        assert not one.overlaps(other)
    at = ax.transData.transform(frame[[cost, "evaluation"]])
    for box in boxes:
        assert ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 and ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1
        assert not any(box.contains(x, y) for x, y in at), "no disc is covered"


def test_what_is_drawn() -> None:
    frame = costs(3).assign(evaluation_slowest=1.0, evaluation_fastest=900.0)
    ax = cost_chart(frame)
    discs, squares = (
        collection
        for collection in ax.collections
        if hasattr(collection, "get_offsets") and collection.get_label() in ("evaluation", "training")
    )
    assert np.allclose(discs.get_offsets(), frame[["macs", "evaluation"]])
    assert np.allclose(squares.get_offsets(), frame[["macs", "training"]])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    bars = [
        segment
        for collection in ax.collections
        if hasattr(collection, "get_segments")
        for segment in collection.get_segments()
    ]
    assert any(np.allclose(bar[:, 1], [1, 900]) for bar in bars), "from the slowest to the fastest run"
    low, high = ax.get_ylim()
    assert low < 1 and high > 900
    words = describe(ax)
    assert words.startswith("Multiply-adds per image and images per second, at evaluation and in training, of 3 models")
    assert all(name in words for name in frame.index)


def test_lines_of_equal_work() -> None:
    ax = cost_chart(costs(6))
    lines = [line for line in ax.lines if line.get_linestyle() == ":"]
    works = [np.unique(np.round(np.asarray(line.get_xdata()) * np.asarray(line.get_ydata()))) for line in lines]
    assert works and all(len(work) == 1 and np.log10(work[0]) == round(np.log10(work[0])) for work in works)
    assert any(text.get_text().strip() == "10 GMAC/s" for text in ax.texts)
    assert not len(cost_chart(costs(6), cost="parameters").lines)


def test_given_axes_are_used_and_keep_their_limits() -> None:
    given = axes_or_new(None)
    assert cost_chart(costs(5), ax=given) is given
    limits = (given.get_xlim(), given.get_ylim())
    given.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    assert (given.get_xlim(), given.get_ylim()) == limits


def test_a_far_name_has_a_line_to_its_point() -> None:
    ax = axes_or_new(None, 5, 3)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    labels = place_labels(ax, [(0.5, 0.5)] * 9, [f"the {i}th name" for i in range(9)])
    boxes = [label.get_window_extent() for label in labels]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    lines = [text for text in ax.texts if isinstance(text, Annotation) and text.arrow_patch is not None]
    assert lines and all(line.xy == (0.5, 0.5) for line in lines)


def test_where_there_is_no_place_every_name_is_still_written() -> None:
    ax = axes_or_new(None, 1.2, 1.2)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    texts = [f"a name that is far too long {i}" for i in range(4)]
    assert [label.get_text() for label in place_labels(ax, [(0.5, 0.5)] * 4, texts)] == texts
    assert place_labels(ax, [], []) == []


@pytest.mark.parametrize(
    ("frame", "cost", "said"),
    [
        (costs(0), "macs", "nothing to draw: no model"),
        (costs(2).drop(columns="training"), "macs", "nothing to draw: training"),
        (costs(2).assign(evaluation=0.0), "macs", "must be above 0"),
        (costs(2).assign(macs=np.nan), "macs", "must be above 0"),
        (costs(2), "dim", "cost='dim' is unknown"),
    ],
)
def test_mistakes(frame: pd.DataFrame, cost: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        cost_chart(frame, cost=cost)  # type: ignore[arg-type]
