"""Distances and losses of single triplets agree with the losses that train on them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlab.errors import UserError
from reidlab.explorers.triplet_scores import triplet_distances, triplet_losses
from reidlab.losses.distance import pairwise_euclidean
from reidlab.losses.triplet import TripletLoss, gap_loss

KINDS = {"euclidean": {}, "normalized": {"normalize": True}, "cosine": {"distance": "cosine"}}


@pytest.mark.parametrize("distance", KINDS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.3, 1.7])
def test_single_triplets_by_the_maths_of_the_triplet_loss(distance: str, soft: bool, margin: float) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 5)).astype(np.float32)
    rows = np.stack([rng.permutation(30)[:3] for _ in range(40)])
    distances = triplet_distances(vectors, rows, distance)
    losses, active = triplet_losses(distances, margin, soft=soft)
    loss = TripletLoss(margin=margin, soft_margin=soft, **KINDS[distance])  # type: ignore[arg-type]
    for at, triplet in enumerate(rows):
        features = torch.from_numpy(vectors[triplet])
        d = loss._distances(features)
        value, share = gap_loss(d[0, 1][None], d[0, 2][None], torch.ones(1, dtype=torch.bool), margin, soft)
        assert distances[at] == pytest.approx([float(d[0, 1]), float(d[0, 2])], abs=2e-5)
        assert losses[at] == pytest.approx(float(value), abs=4e-5)
        assert active[at] == bool(share)


def test_the_mean_over_a_batch_is_what_training_reports() -> None:
    """Two identities of two images: rows a1, a2, b1, b2 have one positive each and a nearest negative."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(4, 6)).astype(np.float32)
    labels = np.array([0, 0, 1, 1])
    d = pairwise_euclidean(torch.from_numpy(vectors), torch.from_numpy(vectors)).numpy()
    rows = []
    for anchor in range(4):
        positive = next(other for other in range(4) if other != anchor and labels[other] == labels[anchor])
        negative = min((other for other in range(4) if labels[other] != labels[anchor]), key=lambda at: d[anchor, at])
        rows.append((anchor, positive, negative))
    losses, active = triplet_losses(triplet_distances(vectors, np.array(rows)), 0.5)
    loss = TripletLoss(margin=0.5)
    value = loss(torch.from_numpy(vectors), torch.from_numpy(labels))
    assert losses.mean() == pytest.approx(float(value), abs=1e-5)
    assert active.mean() == pytest.approx(float(loss.stats["active_share"]))


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 5))
def test_by_hand(d_ap: float, d_an: float, margin: float) -> None:
    (hinge,), (active,) = triplet_losses(np.array([[d_ap, d_an]]), margin)
    assert hinge == max(0.0, d_ap - d_an + margin) and active == (d_ap - d_an + margin > 0)
    (soft,), (active,) = triplet_losses(np.array([[d_ap, d_an]]), margin, soft=True)
    assert soft == pytest.approx(math.log1p(math.exp(d_ap - d_an)))
    slope = 1 / (1 + math.exp(d_an - d_ap))
    if abs(slope - 0.01) > 1e-9:
        assert active == (slope > 0.01)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors, rows = rng.normal(size=(9, 3)).astype(np.float32), rng.integers(0, 9, (11, 3))
    whole = triplet_distances(vectors, rows, "normalized")
    monkeypatch.setattr("reidlab.explorers.triplet_scores._BLOCK", 4)
    np.testing.assert_array_equal(triplet_distances(vectors, rows, "normalized"), whole)


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'euclidean'"):
        triplet_distances(np.eye(3), np.array([[0, 1, 2]]), "euclidian")
    with pytest.raises(UserError, match=r"margin=-0\.1"):
        triplet_losses(np.zeros((1, 2)), -0.1)
