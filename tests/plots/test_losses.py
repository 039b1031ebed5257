"""Figures of losses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plot_cases import check_axes, check_figure

from reidlab.errors import UserError
from reidlab.losses.probe import Probe, ProbeBatch, probe_all, toy_batch
from reidlab.plots.losses import loss_forces, loss_progress, loss_shares
from reidlab.plots.style import describe


@pytest.mark.parametrize("names", [("triplet",), ("center", "circle", "kl", "ehtm", "supcon")])
def test_arrows_of_a_batch_in_the_plane(names: tuple[str, ...]) -> None:
    batch = toy_batch()
    figure = loss_forces(batch.features, batch.labels, probe_all(batch, names))
    check_figure(figure)
    assert all(name in describe(figure) for name in names)
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title().split("\n")[0] for ax in panels] == list(names)


def test_an_arrow_for_every_point_that_moves() -> None:
    forces = np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 0.02], [0.0, -1.5]])
    found = Probe("x", 1.0, {"active_share": 0.5}, forces)
    figure = loss_forces(np.eye(4)[:, :2], [0, 0, 1, 1], {"x": found})
    arrows = next(c for c in figure.axes[0].collections if hasattr(c, "U"))
    assert np.allclose(np.stack([arrows.U, arrows.V], 1), [[0.7, 0], [0, -0.7 / 2**0.5]])
    still = Probe("still", 0.0, {"active_share": 0.0}, np.zeros((4, 2)))
    check_figure(loss_forces(np.eye(4)[:, :2], [0, 0, 1, 1], {"still": still}))


def test_shares_of_the_gradient() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 3
    batch = ProbeBatch.of(rng.normal(size=(12, 5)), labels)
    probes = probe_all(batch, ["triplet", "supcon", "kd"])
    ax = loss_shares(labels, probes)
    check_axes(ax)
    shares = np.asarray(ax.images[0].get_array())
    assert shares.shape == (3, 12) and np.allclose(shares.sum(1), 100)
    order = np.argsort(labels, kind="stable")
    assert np.allclose(shares[0], 100 * probes["triplet"].strengths[order] / probes["triplet"].strengths.sum())
    still = Probe("still", 0.0, {"active_share": 0.0}, np.zeros((12, 5)))
    assert not np.asarray(loss_shares(labels, {"still": still}).images[0].get_array()).any()


def test_progress() -> None:
    frame = pd.DataFrame({0.0: [1.0, 0.5], 0.9: [1.0, 0.0]}, index=["kl", "triplet"])
    ax = loss_progress(frame)
    check_axes(ax)
    assert [text.get_text() for text in ax.texts] == ["100 %", "100 %", "50 %", "0 %"]
    assert "triplet 50 to 0 %" in describe(ax)
    with pytest.raises(UserError, match="no active share"):
        loss_progress(frame.iloc[:0])


def test_mistakes() -> None:
    batch = toy_batch()
    with pytest.raises(UserError, match=r"points must be \[batch, 2\]"):
        loss_forces(np.zeros((12, 3)), batch.labels, probe_all(batch, ["kl"]))
    with pytest.raises(UserError, match="no loss to draw"):
        loss_forces(batch.features, batch.labels, {})
    with pytest.raises(UserError, match="no loss to draw"):
        loss_shares(batch.labels, {})
