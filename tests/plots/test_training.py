"""Figures of training histories."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plot_cases import check_figure

from reidlab.errors import UserError
from reidlab.plots.style import describe
from reidlab.plots.training import training_history


def history(n: int = 20) -> pd.DataFrame:
    epoch = np.arange(1, n + 1)
    frame = pd.DataFrame({"epoch": epoch, "loss": 1 / epoch, "loss_id": 0.6 / epoch, "loss_triplet": 0.4 / epoch})
    names = ["lr", "active_share", "d_ap", "d_an", "seconds", "images_per_second", "wait_share"]
    frame[names] = np.random.default_rng(0).random((n, len(names)))
    frame["val_map"] = np.where(epoch % 5 == 0, 0.5 - 0.01 * abs(epoch - 10), np.nan)
    return frame.assign(val_rank1=frame["val_map"] + 0.2)


def test_all_panels() -> None:
    frame = history()
    before = frame.copy()
    figure = training_history(frame, title="a run")
    check_figure(figure)
    assert len(figure.axes) == 7 and "50.0 % in epoch 10" in describe(figure)
    for ax in figure.axes:
        assert ax.get_ylabel() and ax.get_xlabel() == "epoch"
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("columns", [["loss"], ["loss", "lr"], ["val_map"], ["loss", "lr", "d_ap", "wait_share"]])
@pytest.mark.parametrize("n", [1, 5, 20])
def test_parts_of_a_history(columns: list[str], n: int) -> None:
    frame = history(n)
    if not frame[columns].notna().any().any():
        with pytest.raises(UserError, match="nothing to draw"):
            training_history(frame[["epoch", *columns]])
        return
    figure = training_history(frame[["epoch", *columns]])
    check_figure(figure)
    assert len(figure.axes) == len(columns)


def test_mistakes() -> None:
    for frame in (history().drop(columns="epoch"), history().iloc[:0], history()[["epoch", "seconds"]]):
        with pytest.raises(UserError):
            training_history(frame)
