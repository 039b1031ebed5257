"""Notebook 06: autoencoders and their backbone alone are trained alike, and what is said of them can be counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_stages import make_people, prepared
from torch import nn

from reidlab import stages
from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.params import Autoencoders
from reidlab.registry import AUTOENCODERS
from reidlab.retrieval.comparison import compare_results
from reidlab.retrieval.pair_scores import choose_threshold
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.autoencoder_codes import Codes, divergences, judged
from reidlab.stages.autoencoder_pictures import Pictures
from reidlab.stages.autoencoders import PLAIN, ablation_recipe, non_dominated
from reidlab.store.runs import list_runs
from reidlab.training.recipes import load_recipe

# in bfloat16, oneDNN's gradient by the kernel of a depthwise layer reads memory that nobody wrote where a map of 2 x 1
# becomes 1 x 1, as it does in images this small
SMALL = """
precision: float32
base: siamese_demo
source: for tests
expected: nothing
model:
  autoencoder: {name: ae, code: 6, hidden: [8], dropout: 0.0}
  decoder: {name: direct, hidden: 8}
  height: 32
  width: 16
sampler: {identities: 3, images: 2}
"""
WEIGHTS: Any = {"kl": 0.5, "sparsity": 0.25}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def parameters(small: Path, **changes: Any) -> Autoencoders:
    given = {"recipe": str(small), "epochs": 1, "kinds": ["vae", "ae"], "device": "cpu", **changes}
    return Autoencoders.from_values(given)


def test_the_grid(tmp_path: Path, own_data: Path, small: Path) -> None:
    data = prepared(make_people(tmp_path / "people"), val_share=0.3)
    p = parameters(small, weights=[2.0, 0.0], kinds=["vae"])
    found = stages.autoencoders_for(data, p)
    assert list(found.scores["kind"]) == [PLAIN, "vae", "vae"]
    assert list(found.scores["weight"][1:]) == [2.0, 0.0] and np.isnan(found.scores["weight"][0])
    plain, *others = found.variants
    for row, trial in zip(found.scores.to_dict("records")[1:], others):
        assert row["difference"] == pytest.approx(trial.result.mean_ap - plain.result.mean_ap)
        by_hand = compare_results(plain.result, trial.result, seed=0).frame.set_index("measure").loc["mAP"]
        assert row["p"] == pytest.approx(min(1, 2 * by_hand["p"])), "two comparisons: p is doubled"
        assert row["noise"], "two identities prove nothing"
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert list(found.pairs["judge"]) == ["cosine", *["cosine", "pair head"] * 2]
    assert found.pairs[["accuracy", "f1", "auc"]].apply(lambda column: column.between(0, 1).all()).all()

    table, pairs = found.table(), stages.ablation_pairs(found)
    assert list(table.index) == [PLAIN, "vae, reconstruction 2", "vae, reconstruction 0"]
    assert list(table["more than chance"]) == ["–", "no", "no"] and list(pairs.index[:2]) == [PLAIN, table.index[1]]
    ranked = stages.pair_rankings(data, found, parameters(small, rerank_top=1))
    assert list(ranked.index) == list(table.index[1:]), "the plain one has no pair head"
    assert ranked.iloc[0, 0] == ranked.iloc[0, 1] and ranked["p"].iloc[0] == "1", "one image cannot change places"
    assert stages.pair_rankings(data, found, p)["more than chance"].tolist() == ["no", "no"]
    offers = found.trade_offs()
    assert list(offers["label"]) == ["vae, reconstruction 2"] and offers["front"].all(), "the other has no decoder"
    assert offers["error"][0] == found.histories()["vae"]["loss_reconstruction"].iloc[-1]
    said = found.verdicts()
    assert len(said) == 2 and all("may be chance" in each for each in said)
    assert list(found.differences()["label"]) == list(table.index[1:])
    assert list(found.histories()) == [PLAIN, "vae"] and "loss_vae_kl" in found.histories()["vae"]
    assert list(found.histories(lambda variant: variant.label)) == list(table.index)

    assert list(found.shown()) == ["vae"] and found.shown()["vae"].plan.about["weight"] == 2
    pictures = stages.pictures_for(data, found, p)
    for (rows, heads), count in ((pictures.reconstructions(), 2), (pictures.interpolations(), 2)):
        assert len(rows) == count and all(row.shape == (len(heads), 32, 16, 3) for row in rows.values())
    rows, _ = pictures.traversals(count=3)
    assert len(rows) == 3 and pictures.plain_codes()["vae"].shape[1] == 6
    with pytest.raises(UserError, match="no dae with a decoder"):
        pictures.traversals(kind="dae")

    again = stages.autoencoders_for(data, p)
    assert not any(trial.run.made for trial in again.variants)
    pd.testing.assert_frame_equal(again.scores, found.scores)
    pd.testing.assert_frame_equal(again.pairs, found.pairs)
    assert len(list_runs("training")) == 3
    without = stages.autoencoders_for(data, parameters(small, weights=[0.0], kinds=["vae"]))
    assert len(list_runs("training")) == 3, "they were there"
    with pytest.raises(UserError, match="there is no decoder"):
        stages.pictures_for(data, without, p)


def test_what_is_refused(tmp_path: Path, own_data: Path, small: Path) -> None:
    data = prepared(make_people(tmp_path / "people"))
    for changes, said in (
        ({"kinds": ["aee"]}, "aee.*ae"),
        ({"kinds": []}, r"kinds=\[\]: at least one"),
        ({"seeds": [1, 1]}, r"seeds=\[1, 1\]: one stands there twice"),
        ({"weights": [1.0, -1.0]}, r"weights=\[1.0, -1.0\]: each must be 0 or more"),
        ({"seeds": [2**32]}, r"at most 4,294,967,295"),
        ({"backbones": ["resnet18", "custom_cnn_v32"]}, "backbone 'custom_cnn_v32'"),
        ({"recipe": "demo"}, "takes siamese_autoencoder"),
    ):
        with pytest.raises(UserError, match=said):
            stages.autoencoders_for(data, parameters(small, **changes))
    assert not list_runs("training")


def test_all_kinds_differ_in_their_kind_alone() -> None:
    base = load_recipe("siamese_demo")
    names = [term.name for term in base.losses]
    own = {"vae": ["vae_kl"], "sae": ["sparsity"]}
    for kind in AUTOENCODERS:
        made = ablation_recipe(base, kind, "osnet_x0_25", 3.0, **WEIGHTS)
        assert made.model["autoencoder"] == {**base.model["autoencoder"], "name": kind}
        assert {**made.model, "autoencoder": 0} == {**base.model, "backbone": "osnet_x0_25", "autoencoder": 0}
        weights = {term.name: term.weight for term in made.losses}
        assert list(weights) == names + own.get(kind, []) and weights["reconstruction"] == 3
        assert {name: weights[name] for name in own.get(kind, [])} == {
            name: {"vae_kl": 0.5, "sparsity": 0.25}[name] for name in own.get(kind, [])
        }
        rest = {"name", "model", "losses"}
        assert made.model_dump(exclude=rest) == base.model_dump(exclude=rest)
        without = ablation_recipe(base, kind, "osnet_x0_25", 0.0, **WEIGHTS)
        assert without.model["decoder"] == "" and "reconstruction" not in {term.name for term in without.losses}


def test_the_plain_backbone_has_the_same_recipe() -> None:
    base = load_recipe("siamese_demo")
    plain = ablation_recipe(base, PLAIN, "resnet18", float("nan"), **WEIGHTS)
    assert plain.model == {
        "name": "resnet18", "last_stride": 2, "classifier": "linear", "height": 64, "width": 32
    }  # fmt: skip
    assert plain.losses == tuple(term for term in base.losses if term.feature in ("logits", "before"))
    rest = {"name", "model", "losses"}
    assert plain.model_dump(exclude=rest) == base.model_dump(exclude=rest)
    assert "last_stride" not in ablation_recipe(base, PLAIN, "osnet_x0_25", 1.0, **WEIGHTS).model
    pairs = base.model_copy(update={"losses": tuple(term for term in base.losses if term.feature == "pairs")})
    with pytest.raises(UserError, match="no loss that a backbone without"):
        ablation_recipe(pairs, PLAIN, "resnet18", 1.0, **WEIGHTS)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=12))
def test_the_front_by_a_loop(points: list[tuple[int, ...]]) -> None:
    beaten = [
        any(all(b >= a for a, b in zip(one, other)) and any(b > a for a, b in zip(one, other)) for other in points)
        for one in points
    ]
    assert non_dominated(*zip(*points)).tolist() == [not each for each in beaten]
    assert non_dominated([1.0, 1.0], [2.0, 2.0]).tolist() == [True, True], "equal points do not beat each other"


def test_divergences_by_torch() -> None:
    rng = np.random.default_rng(0)
    mean, log_variance = rng.normal(size=(2, 30, 4)).astype(np.float32)
    normal = torch.distributions.Normal(torch.from_numpy(mean), torch.from_numpy(log_variance / 2).exp())
    wanted = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean(0)
    np.testing.assert_allclose(divergences(np.hstack([mean, log_variance])), wanted, rtol=1e-5)
    assert divergences(np.array([[1.0, 0, 0, 0]], np.float32)).tolist() == [0.5, 0]


def people(seed: int, n_people: int = 4) -> Embeddings:
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(n_people), 4)
    table = pd.DataFrame(
        {"path": [f"{i}.png" for i in range(len(pids))], "pid": pids, "camid": np.arange(len(pids)) % 2}
    )
    table["split"] = np.where(np.arange(len(pids)) % 4 == 0, "query", "gallery")
    vectors = rng.normal(size=(n_people, 5))[pids] + rng.normal(size=(len(pids), 5))
    return Embeddings(vectors.astype(np.float32), table)


class Difference(nn.Module):
    """A pair head that says how near two codes are."""

    def same_person(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        return 1 / (1 + (one - two).square().sum(1))


@pytest.mark.parametrize("model", [None, Difference()])
def test_pairs_by_a_loop(model: Any) -> None:
    validation, test = people(0), people(1)
    found = judged(validation, test, model, seed=0)
    scores: dict[bool, list[float]] = {True: [], False: []}
    query, gallery = test.split("query"), test.split("gallery")
    for a, one in zip(query.table.itertuples(), query.vectors):
        for b, two in zip(gallery.table.itertuples(), gallery.vectors):
            cosine = float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
            score = cosine if model is None else 1 / (1 + float(np.square(one - two).sum()))
            if a.pid != b.pid or a.camid != b.camid:
                scores[a.pid == b.pid].append(score)
    positives = scores[True]
    assert found.true_positives == sum(score >= found.threshold for score in positives)
    assert found.true_positives + found.false_negatives == len(positives)
    assert found.true_negatives + found.false_positives == len(positives), "as many of either kind"
    # all pairs of one person are among those that the threshold was chosen by, and of the others some
    of_validation = judged(validation, validation, model, seed=0)
    assert of_validation.threshold == found.threshold
    other = judged(test, test, model, seed=0)
    assert other.balanced_accuracy >= found.balanced_accuracy, "a threshold of one's own flatters"
    assert choose_threshold([0.1, 0.9], [False, True]) == 0.9


class Shades(nn.Module):
    """A model whose code is the mean of each channel, and whose decoder paints it."""

    dim = 3

    def __init__(self, variational: bool = False) -> None:
        super().__init__()
        self.preprocess = Preprocess(4, 2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def codes(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return (codes * 255).round().clamp(0, 255).byte()[:, :, None, None].expand(-1, -1, 4, 2)


@pytest.fixture
def shades() -> Pictures:
    unseen = np.stack([np.full((4, 2, 3), shade, np.uint8) for shade in (40, 80, 200)])
    means = np.array([[0.4, 0.5, 0.5], [0.6, 0.5, 0.5]], np.float32)
    log_variances = np.tile(np.array([-1.0, 0.0, -4.0], np.float32), (2, 1))
    return Pictures({"vae": Shades()}, {"vae": np.hstack([means, log_variances])}, unseen[:2], unseen)


def test_reconstructions_stand_below_their_images(shades: Pictures) -> None:
    rows, heads = shades.reconstructions()
    assert list(rows) == ["image", "vae"]
    assert heads == ["seen", "seen", "unseen", "unseen", "occluded", "noise", "flat"]
    assert rows["image"][:4, 0, 0, 0].tolist() == [40, 80, 40, 200]
    means = rows["image"].reshape(7, -1, 3).mean(1)
    np.testing.assert_allclose(rows["vae"][:, 0, 0], means, atol=0.51)


def test_interpolations_go_straight(shades: Pictures) -> None:
    rows, heads = shades.interpolations()
    assert heads == ["image", "0 %", "25 %", "50 %", "75 %", "100 %", "image"]
    assert rows["vae, one person"][:, 0, 0, 0].tolist() == [40, 40, 50, 60, 70, 80, 80]
    assert rows["vae, two people"][:, 0, 0, 0].tolist() == [40, 40, 80, 120, 160, 200, 200]


def test_traversals_move_the_strongest_number_alone(shades: Pictures) -> None:
    rows, heads = shades.traversals(count=2)
    assert list(rows) == ["number 2 (1.6 nats)", "number 0 (0.3 nats)"]
    assert heads == ["-3 sd", "-1.5 sd", "mean", "+1.5 sd", "+3 sd"]
    strongest, second = rows.values()
    assert np.unique(strongest[..., 2]).tolist() == [128], "it has no spread"
    assert second[:, 0, 0, 0].tolist() == [51, 89, 128, 166, 204], "0.5 and 0.1 as often"
    assert np.unique(second[..., 1:]).tolist() == [40], "all others stay"


def test_codes_of_a_model_are_not_normalised(small: Path) -> None:
    from reidlab.models import build

    base = load_recipe(str(small))
    images = torch.rand(3, 3, 32, 16)
    for kind, width in (("ae", 6), ("vae", 12)):
        spec = ablation_recipe(base, kind, "test_efficientnet", 1.0, **WEIGHTS).model
        model: Any = build(spec).eval()
        codes = Codes(model)
        assert codes.dim == width
        with torch.inference_mode():
            given = codes(images)
            torch.testing.assert_close(given[:, :6], model.codes(images))
        assert given.shape == (3, width)
