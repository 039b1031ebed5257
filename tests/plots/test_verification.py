"""Reliability diagrams and ROC curves."""

from __future__ import annotations

import numpy as np
import pytest
from plot_cases import check_axes

from reidlab import plots
from reidlab.errors import UserError
from reidlab.plots.style import describe
from reidlab.retrieval import fit_calibration, reliability_table


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
