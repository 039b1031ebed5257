"""What a loss does to a batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from reidlab.errors import UserError
from reidlab.losses import LOSSES, build
from reidlab.losses.probe import PROBED, ProbeBatch, probe, probe_all, probe_table, toy_batch

UNSEEN = ("cross_orthogonality", "reconstruction", "vae_kl", "load_balance", "pair_bce")  # they see no features


def test_the_toy_batch() -> None:
    one, two = toy_batch(3), toy_batch(3)
    assert torch.equal(one.features, two.features) and not torch.equal(one.features, toy_batch(4).features)
    assert one.features.shape == one.teacher.shape == (12, 2) and one.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    near = torch.nn.functional.normalize(one.features, dim=1) * one.prototypes[one.labels]
    assert ((one.teacher * one.prototypes[one.labels]).sum(1) >= near.sum(1)).all(), "the teacher is nearer"
    nearest = (torch.nn.functional.normalize(one.features, dim=1) @ one.prototypes.T).argmax(1)
    assert nearest.tolist() == [0, 0, 0, 1, *one.labels.tolist()[4:]], "one outlier"


def test_a_batch_of_features() -> None:
    rng = np.random.default_rng(0)
    features, names = rng.normal(size=(6, 5)), np.array(["b", "a", "b", "c", "a", "c"])
    batch = ProbeBatch.of(features, names)
    assert batch.labels.tolist() == [1, 0, 1, 2, 0, 2] and batch.prototypes.shape == (3, 5)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert np.allclose(batch.features, unit)
    mean = unit[[1, 4]].sum(0)
    assert np.allclose(batch.prototypes[0], mean / np.linalg.norm(mean))
    assert torch.allclose(batch.teacher, batch.towards(0.9).features)
    for wrong in ((features[0], names), (features, names[:3]), (features[:0], names[:0])):
        with pytest.raises(UserError, match="A batch is features"):
            ProbeBatch.of(*wrong)


def test_on_the_way_to_the_prototypes() -> None:
    batch = ProbeBatch.of(np.random.default_rng(0).normal(size=(6, 5)), [0, 0, 1, 1, 2, 2])
    home = batch.prototypes[batch.labels]
    assert torch.allclose(batch.towards(0).features, batch.features) and torch.allclose(batch.towards(1).features, home)
    nearness = [(batch.towards(share).features * home).sum(1) for share in (0, 0.5, 0.9, 1)]
    assert all((nearer > farther).all() for farther, nearer in pairwise(nearness))
    assert probe("kl", batch.towards(0.9)).value == pytest.approx(0, abs=1e-12), "there the student is the teacher"
    with pytest.raises(UserError, match=r"share=1\.5"):
        batch.towards(1.5)


@pytest.mark.parametrize("name", PROBED)
def test_forces_lead_downhill(name: str) -> None:
    batch = toy_batch()
    found = probe(name, batch)
    assert found.forces.shape == (12, 2) and np.isfinite(found.forces).all() and found.strengths.max() > 0
    step = 1e-4 / np.linalg.norm(found.forces)
    moved = ProbeBatch(batch.features + step * torch.from_numpy(found.forces), *list(vars(batch).values())[1:])
    fallen = found.value - probe(name, moved).value
    # circle's weights change along the way without being in its gradient
    assert fallen == pytest.approx(step * (found.forces**2).sum(), rel=0.02 if name != "circle" else 0.9)


def test_forces_and_options() -> None:
    batch = toy_batch()
    features = batch.features.clone().requires_grad_()
    build("triplet", margin=2.0, normalize=True)(features, batch.labels).backward()
    assert features.grad is not None
    found = probe("triplet", batch, margin=2.0, normalize=True)
    assert np.allclose(found.forces, -features.grad) and found.stats["active_share"] == 1
    assert found.value > 1 + probe("triplet", batch).value


def test_the_table() -> None:
    probes = probe_all(toy_batch(), ["triplet", "kl"])
    frame = probe_table(probes)
    assert list(frame.index) == ["triplet", "kl"] and frame.index.name == "loss"
    strengths = probes["triplet"].strengths
    assert frame.loc["triplet", "gradient_norm"] == pytest.approx(float(np.sqrt((strengths**2).sum())))
    assert frame.loc["triplet", "top_tenth"] == pytest.approx(strengths.max() / strengths.sum())
    assert (frame["top_tenth"] >= 1 / 12).all() and frame.loc["triplet", "value"] == probes["triplet"].value
    assert list(probe_all(toy_batch())) == list(PROBED) == [name for name in LOSSES if name not in UNSEEN]
    with pytest.raises(UserError, match=r"'cross_orthogonality' sees maps, not features; choose from cross_entropy, "):
        probe("cross_orthogonality", toy_batch())


def test_a_loss_without_a_force() -> None:
    alone = ProbeBatch.of(np.eye(3), [0, 0, 0])
    assert probe_table(probe_all(alone, ["circle"])).loc["circle"].tolist() == [0, 0, 0, 0]


def test_unknown_losses() -> None:
    with pytest.raises(UserError, match="Did you mean 'circle'"):
        probe_all(toy_batch(), ["cirlce"])


@pytest.mark.parametrize(
    ("features", "labels", "words"),
    [
        ([["a", "b"]] * 2, [0, 1], "cannot be read as numbers"),
        ([[1.0], [1.0, 2.0]], [0, 1], "cannot be read as numbers"),
        ([[1.0, np.nan]] * 2, [0, 1], "hold NaN or infinite numbers"),
        ([[1.0, 2.0]] * 2, [0, np.nan], "labels"),
        ([[1.0, 2.0]] * 2, [0.5, 1], "labels"),
        ([[], []], [0, 1], "A batch is features"),
    ],
)
def test_what_is_no_batch(features: list[list[float]], labels: list[float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ProbeBatch.of(features, labels)
