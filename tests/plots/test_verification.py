"""Reliability diagrams and ROC curves."""

from __future__ import annotations

import numpy as np
import pytest
from plot_cases import check_axes

from reidlab import plots
from reidlab.errors import UserError
from reidlab.plots.style import describe
from reidlab.retrieval import fit_calibration, reliability_table, verification


def test_reliability() -> None:
    rng = np.random.default_rng(0)
    stated = rng.random(500)
    table = reliability_table(stated, rng.random(500) < stated)
    same = np.arange(200) < 100
    found = fit_calibration((np.clip(rng.normal(same * 0.4, 0.2), -1, 1), same), draws=1)
    for given in (table, found, {"by table": table, "$f$": found}, {"one bin": table.head(1)}):
        check_axes(plots.reliability(given))
    assert "by table: error" in describe(plots.reliability({"by table": table}))
    for nothing in ({}, table.head(0)):
        with pytest.raises(UserError, match="no reliability table"):
            plots.reliability(nothing)


def test_roc_curve() -> None:
    rng = np.random.default_rng(0)
    pids = np.arange(200) % 50
    vectors = rng.normal(size=(50, 8))[pids] + rng.normal(size=(200, 8))
    large = verification(vectors, vectors, query_pids=pids, gallery_pids=pids)
    small = verification(vectors[:2], vectors[:3], query_pids=pids[:2], gallery_pids=pids[:3])
    for given in (large, small, {"a": large, "$b$": small}):
        check_axes(plots.roc_curve(given))
    ax = plots.roc_curve({"a": large})
    curve = ax.get_lines()[0]
    at, height = (np.asarray(values) for values in curve.get_data())
    assert all(value == 100 * large.tpr_at(rate) for rate, value in zip(at[::50], height[::50]))
    assert f"{100 * large.tpr_at(1e-3):.1f} % at 0.001" in describe(ax)
    sure = verification(vectors, vectors, query_pids=pids, gallery_pids=pids, bootstrap=100)
    ax = plots.roc_curve({"a": large, "b": sure})
    check_axes(ax)
    low, high = sure.interval(1e-3)
    bars = [line.get_ydata() for line in ax.get_lines() if list(line.get_xdata()) == [1e-3, 1e-3]]
    assert len(bars) == 1 and list(np.asarray(bars[0])) == [100 * low, 100 * high]
    assert f"({100 * low:.1f} to {100 * high:.1f} %) at 0.001" in describe(ax)
    for bad in ({"results": {}}, {"results": large, "lowest": 0}):
        with pytest.raises(UserError):
            plots.roc_curve(**bad)
