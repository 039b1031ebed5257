"""Heat maps of models against test sets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from plot_cases import check_figure

from reidlab import plots
from reidlab.errors import UserError
from reidlab.plots.domains import HOME
from reidlab.plots.style import describe


def scores(models: int = 2, sets: int = 3) -> pd.DataFrame:
    rows = [
        {
            "model": f"model_{m}",
            "test_set": f"set $ {s}",
            "rank1": (m + s) / 10,
            "mAP": (m + s) / 20,
            "in_domain": m == s,
        }
        for m in range(models)
        for s in range(sets)
    ]
    frame = pd.DataFrame(rows)
    ends = {
        f"{name}_{end}": frame[name] + by for name in ("rank1", "mAP") for end, by in (("low", -0.1), ("high", 0.1))
    }
    return frame.assign(**ends)


@pytest.mark.parametrize(("models", "sets"), [(1, 1), (2, 3), (3, 4), (2, 6)])
def test_a_cell_a_score_and_a_frame_where_it_was_trained(models: int, sets: int) -> None:
    frame = scores(models, sets)
    figure = plots.domain_heatmaps(frame)
    check_figure(figure)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["rank-1 (%)", "mAP (%)"]
    for ax, name in zip(panels, ("rank1", "mAP")):
        texts = [text.get_text() for text in ax.texts]
        assert len(texts) == models * sets and texts[0].startswith(f"{100 * frame[name][0]:.1f}\n")
        assert sum(HOME in text for text in texts) == frame["in_domain"].sum()
        frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert len(frames) == frame["in_domain"].sum()
        assert ax.get_xlabel() == "test set"
    assert panels[0].get_ylabel() == "model" and (panels[1].get_ylabel() == "") is (sets <= 4), "said once side by side"
    assert f"model_0 on set $ 0: rank-1 0.0, mAP 0.0 ({HOME})" in describe(figure)


def test_text_stays_inside_its_cell() -> None:
    figure = plots.domain_heatmaps(scores(3, 4))
    figure.draw_without_rendering()
    for ax in [ax for ax in figure.axes if ax.get_title()]:
        cell = abs(np.diff(ax.transData.transform([(0, 0), (1, 1)]), axis=0))[0]
        for text in ax.texts:
            box = text.get_window_extent()
            assert box.width <= 0.92 * cell[0] and box.height <= 0.95 * cell[1]


def test_pairs_that_are_missing_and_no_intervals() -> None:
    frame = scores().iloc[1:].assign(rank1_low=np.nan, rank1_high=np.nan)
    figure = plots.domain_heatmaps(frame)
    check_figure(figure)
    assert len(figure.axes[0].texts) == 5 and "to" not in figure.axes[0].texts[0].get_text()


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (scores().iloc[:0], "no score"),
        (scores().drop(columns="mAP_low"), "no column 'mAP_low'"),
        (pd.concat([scores(), scores()]), "twice"),
    ],
)
def test_what_cannot_be_drawn(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(UserError, match=said):
        plots.domain_heatmaps(frame)
