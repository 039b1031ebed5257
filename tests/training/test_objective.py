"""The objective: every term sees its feature, terms are summed by weight, and mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reidlab import losses
from reidlab.errors import UserError
from reidlab.models import Output
from reidlab.models.output import Branch, Siamese
from reidlab.training.objective import Objective
from reidlab.training.recipes import LossTerm

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def make_output(seed: int = 0, **changes: Any) -> Output:
    g = torch.Generator().manual_seed(seed)
    content: dict[str, Any] = {
        "before": torch.randn(6, 8, generator=g),
        "after": torch.randn(6, 8, generator=g),
        "logits": tuple(torch.randn(6, 3, generator=g) for _ in range(4)),
        "parts": torch.randn(6, 5, 8, generator=g),
    }
    return Output(**{**content, **changes})


def objective(*terms: dict[str, Any]) -> Objective:
    return Objective(tuple(LossTerm(**term) for term in terms))


@pytest.mark.parametrize("feature", ["before", "after"])
def test_one_feature(feature: str) -> None:
    output = make_output()
    expected = losses.build("triplet", margin=0.5)(getattr(output, feature), LABELS)
    found = objective({"name": "triplet", "feature": feature, "options": {"margin": 0.5}})
    assert torch.equal(found(output, LABELS), expected)
    assert {"loss_triplet", "active_share", "d_ap", "d_an"} == found.stats.keys()


def test_logits_are_the_mean_over_classifiers_and_so_is_accuracy() -> None:
    output, loss = make_output(), losses.build("cross_entropy")
    found = objective({"name": "cross_entropy", "feature": "logits"})
    value = found(output, LABELS)
    assert value == pytest.approx(float(torch.stack([loss(x, LABELS) for x in output.logits]).mean()))
    shares = [(x.argmax(1) == LABELS).float().mean() for x in output.logits]
    assert float(found.stats["accuracy"]) == pytest.approx(float(torch.stack(shares).mean()))


def test_parts_are_the_mean_over_parts() -> None:
    output, loss = make_output(), losses.build("triplet")
    found = objective({"name": "triplet", "feature": "parts"})
    values, d_ap = [], []
    assert output.parts is not None
    for i in range(5):
        values.append(loss(output.parts[:, i], LABELS))
        d_ap.append(loss.stats["d_ap"])  # type: ignore[index]
    assert found(output, LABELS) == pytest.approx(float(torch.stack(values).mean()))
    assert float(found.stats["d_ap"]) == pytest.approx(float(torch.stack(d_ap).mean()))


def test_triplets_are_anchors_then_positives_then_negatives() -> None:
    before = torch.nn.functional.normalize(make_output().before, dim=1)
    labels = torch.tensor([0, 1, 0, 1, 1, 2])
    a, p, n = before[:2], before[2:4], before[4:]
    expected = losses.build("ehtm")(a, p, n, labels[:2], labels[4:])
    found = objective({"name": "ehtm", "feature": "triplets"})
    assert found.needs_triplets and torch.equal(found(make_output(before=before), labels), expected)
    assert not objective({"name": "triplet", "feature": "after"}).needs_triplets


def test_terms_are_summed_by_weight() -> None:
    output = make_output()
    triplet = {"name": "triplet", "feature": "before", "options": {"margin": 5.0}}
    entropy = {"name": "cross_entropy", "feature": "logits"}
    one, two = objective(triplet)(output, LABELS), objective(entropy)(output, LABELS)
    both = objective(triplet | {"weight": 0.25}, entropy | {"weight": 3})
    assert both(output, LABELS) == pytest.approx(float(0.25 * one + 3 * two))
    assert float(both.stats["loss_triplet"]) == pytest.approx(float(one)), "reported without its weight"


def test_terms_of_one_name_have_columns_of_their_own() -> None:
    triplet = {"name": "triplet", "options": {"margin": 5.0}}
    found = objective(
        triplet | {"feature": "after"}, triplet | {"feature": "parts"}, {"name": "cross_entropy", "feature": "logits"}
    )
    found(make_output(), LABELS)
    assert {"loss_triplet_after", "loss_triplet_parts", "loss_cross_entropy"} <= found.stats.keys()
    first = objective(triplet | {"feature": "after"})
    first(make_output(), LABELS)
    assert found.stats["d_ap"] == first.stats["d_ap"], "the first term's, as documented"
    twice = objective(triplet | {"feature": "after"}, triplet | {"feature": "after"})
    twice(make_output(), LABELS)
    assert {"loss_triplet_after_1", "loss_triplet_after_2"} <= twice.stats.keys()


def test_stats_carry_no_graph() -> None:
    output = make_output(before=torch.randn(6, 8, requires_grad=True))
    found = objective({"name": "triplet", "feature": "before"})
    assert found(output, LABELS).requires_grad
    assert not any(value.requires_grad for value in found.stats.values())


def test_missing_features_are_named() -> None:
    with pytest.raises(UserError, match="'cross_entropy' needs logits, but the model has no classifier"):
        objective({"name": "cross_entropy", "feature": "logits"})(make_output(logits=()), LABELS)
    with pytest.raises(UserError, match="'triplet' needs parts, but the model has none; set parts: true"):
        objective({"name": "triplet", "feature": "parts"})(make_output(parts=None), LABELS)


@pytest.mark.parametrize(
    ("name", "feature"), [("ehtm", "after"), ("triplet", "triplets"), ("cross_entropy", "triplets")]
)
def test_ehtm_and_triplets_go_together_alone(name: str, feature: str) -> None:
    with pytest.raises(UserError, match="ehtm needs given triplets"):
        objective({"name": name, "feature": feature})


def test_unknown_losses_and_options_are_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'triplet'"):
        objective({"name": "tripelt", "feature": "after"})
    with pytest.raises(UserError, match="has no option 'margn'"):
        objective({"name": "triplet", "feature": "after", "options": {"margn": 1}})


def test_branches_are_chosen_by_name() -> None:
    g = torch.Generator().manual_seed(1)
    features = [torch.randn(6, 8, generator=g) for _ in range(3)]
    logits = [torch.randn(6, 3, generator=g) for _ in range(2)]
    branches = {"glo": Branch(*features[:2], logits[0]), "drop": Branch(features[2], features[2], logits[1])}
    output = make_output(branches={**branches, "bare": Branch(features[0], features[0])})
    triplet, entropy = losses.build("triplet"), losses.build("cross_entropy")
    one = {"name": "triplet", "feature": "before", "branch": "drop"}
    assert torch.equal(objective(one)(output, LABELS), triplet(features[2], LABELS))
    both = {"name": "cross_entropy", "feature": "logits", "branch": ["glo", "drop"]}
    expected = (entropy(logits[0], LABELS) + entropy(logits[1], LABELS)) / 2
    torch.testing.assert_close(objective(both)(output, LABELS), expected)
    with pytest.raises(UserError, match=r"no branch 'glow'; it has glo, drop, bare. Did you mean 'glo'\?"):
        objective({**one, "branch": "glow"})(output, LABELS)
    with pytest.raises(UserError, match="branch 'bare' has no logits"):
        objective({**both, "branch": "bare"})(output, LABELS)
    with pytest.raises(UserError, match="it has none"):
        objective(one)(make_output(), LABELS)
    with pytest.raises(UserError, match="branches have before, after and logits, not parts"):
        objective({**one, "feature": "parts"})


@pytest.mark.parametrize(
    "name, feature, words",
    [
        ("cross_entropy", "before", r"cross_entropy and other losses on logits .*go with logits"),
        ("triplet", "logits", r"ranking losses, .*with before, after or parts"),
        ("kd", "after", r"kl, js, kd. go with logits"),
        ("cross_orthogonality", "before", "sees maps: name a branch"),
        ("cross_orthogonality", "logits", "'cross_orthogonality' cannot see feature 'logits'"),
    ],
)
def test_losses_and_features_that_do_not_go_together(name: str, feature: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        objective({"name": name, "feature": feature})


def test_the_active_share_is_that_of_the_ranking_loss_wherever_it_stands() -> None:
    entropy = {"name": "cross_entropy", "feature": "logits"}
    triplet = {"name": "triplet", "feature": "before", "options": {"margin": 0.0}}
    output = make_output()
    alone, both = objective(triplet), objective(entropy, triplet)
    alone(output, LABELS)
    both(output, LABELS)
    assert both.stats["active_share"] == alone.stats["active_share"] and "accuracy" in both.stats


def siamese_output() -> Output:
    g = torch.Generator().manual_seed(3)
    made = [torch.rand(6, 3, 4, 2, generator=g) for _ in range(2)]
    mean, log_variance = (torch.randn(6, 8, generator=g) for _ in range(2))
    pairs = torch.randn(6, 6, generator=g)
    siamese = Siamese(mean, mean, mean, log_variance, made[0], made[1], pairs + pairs.T)
    return make_output()._replace(siamese=siamese)


def test_terms_of_an_autoencoder() -> None:
    output = siamese_output()
    siamese = output.siamese
    assert siamese is not None
    expected = {
        "reconstruction": losses.build("reconstruction")(siamese.reconstruction, siamese.pixels),
        "vae_kl": losses.build("vae_kl")(siamese.mean, siamese.log_variance),
        "pair_bce": losses.build("pair_bce")(siamese.pairs, LABELS),
        "sparsity": losses.build("sparsity")(output.before),
    }
    features = {"reconstruction": "reconstruction", "vae_kl": "distribution", "pair_bce": "pairs", "sparsity": "before"}
    found = objective(*({"name": name, "feature": features[name], "weight": 2.0} for name in expected))
    assert found(output, LABELS).item() == pytest.approx(2 * sum(value.item() for value in expected.values()), rel=1e-6)
    for name, value in expected.items():
        assert found.stats[f"loss_{name}"].item() == pytest.approx(value.item(), rel=1e-6)
    assert {"psnr", "kl_nats", "pair_accuracy"} <= found.stats.keys()


@pytest.mark.parametrize(
    "name, feature", [("reconstruction", "before"), ("triplet", "pairs"), ("vae_kl", "pairs"), ("pair_bce", "logits")]
)
def test_features_of_an_autoencoder_go_with_their_losses(name: str, feature: str) -> None:
    with pytest.raises(UserError, match=f"{name}.*{feature}"):
        objective({"name": name, "feature": feature})


@pytest.mark.parametrize(
    "name, feature", [("reconstruction", "reconstruction"), ("vae_kl", "distribution"), ("pair_bce", "pairs")]
)
def test_models_that_are_no_autoencoders_are_told(name: str, feature: str) -> None:
    found = objective({"name": name, "feature": feature})
    with pytest.raises(UserError, match="siamese_autoencoder"):
        found(make_output(), LABELS)
    empty = make_output()._replace(siamese=Siamese(torch.rand(6, 8), torch.rand(6, 8)))
    with pytest.raises(UserError, match="siamese_autoencoder"):
        found(empty, LABELS)
