"""Siamese autoencoders in training: all terms learn, runs resume to the bit, parts begin where another run ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training_cases import HEIGHT, WIDTH, World, make_recipe, same_weights, train, trained, weights_in

from reidlab.errors import UserError
from reidlab.registry import AUTOENCODERS, BALANCES
from reidlab.training.recipes import Recipe
from reidlab.training.run import TrainingRun

TERMS = [
    {"name": "triplet", "feature": "before", "weight": 0.3, "options": {"margin": 0.2}},
    {"name": "reconstruction", "feature": "reconstruction"},
    {"name": "pair_bce", "feature": "pairs", "weight": 0.3},
]
KL = {"name": "vae_kl", "feature": "distribution", "weight": 1e-3, "options": {"free_bits": 0.01}}


def siamese(kind: str = "ae", **changes: Any) -> Recipe:
    model = {
        "name": "siamese_autoencoder",
        "backbone": "osnet_x0_25",
        "autoencoder": {"name": kind, "code": 16, "hidden": [32, 24]},
        "decoder": {"name": "direct", "hidden": 24},
        "pair_head": "difference",
        "height": HEIGHT,
        "width": WIDTH,
    }
    recipe = make_recipe(epochs=2, validate_every=2, losses=changes.pop("losses", TERMS), **changes)
    return Recipe.model_validate({**recipe.model_dump(), "model": model})


@pytest.fixture(scope="module")
def first(world: World, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained(world, tmp_path_factory.mktemp("siamese") / "run", siamese())


@pytest.mark.parametrize("kind", AUTOENCODERS)
def test_every_kind_trains_and_resumes_to_the_bit(world: World, tmp_path: Path, kind: str) -> None:
    recipe = siamese(kind, losses=[*TERMS, *([KL] if kind == "vae" else [])])
    whole = trained(world, tmp_path / "whole", recipe)
    assert train(world, tmp_path / "parts", recipe, stop_after=1) is None
    parts = trained(world, tmp_path / "parts", recipe)
    assert same_weights(weights_in(whole.folder), weights_in(parts.folder))
    history = whole.history
    assert history["loss_reconstruction"].iloc[-1] < history["loss_reconstruction"].iloc[0]
    assert {"psnr", "pair_accuracy", "val_map"} <= set(history.columns)
    assert ("kl_nats" in history) == (kind == "vae")


@pytest.mark.parametrize("name", BALANCES)
def test_every_balance_trains_and_resumes_to_the_bit(world: World, tmp_path: Path, name: str) -> None:
    recipe = siamese(balance={"name": name, "cosines": True})
    whole = trained(world, tmp_path / "whole", recipe)
    assert train(world, tmp_path / "parts", recipe, stop_after=1) is None
    assert same_weights(weights_in(whole.folder), weights_in(trained(world, tmp_path / "parts", recipe).folder))
    cosines = [column for column in whole.history if column.startswith("cosine_")]
    assert len(cosines) == 3 and whole.history[cosines].abs().max().max() <= 1 + 1e-6
    assert ("weight_pair_bce" in whole.history) == (name in ("uncertainty", "gradnorm"))


def test_parts_begin_where_another_run_ended(world: World, first: TrainingRun, tmp_path: Path) -> None:
    still = {"optimizer": {"lr": 1e-12, "weight_decay": 0.0}, "schedule": {"name": "constant"}}
    given = str(first.folder)
    run = trained(world, tmp_path / "second", siamese(pre_backbone=given, pre_autoencoder=given, **still))
    old, new = weights_in(first.folder), weights_in(run.folder)
    for name, tensor in old.items():
        if "running" in name or "num_batches" in name:
            continue
        taken = name.startswith(("backbone.", "autoencoder.", "decoder."))
        assert torch.allclose(new[name], tensor, rtol=0, atol=1e-9) == taken, name
    counts = {part: sum(name.startswith(part) for name in old) for part in ("backbone.", "autoencoder.", "decoder.")}
    assert f"backbone: all {counts['backbone.']} tensors of {first.folder.name}" in run.summary["start"]
    assert f"autoencoder: all {counts['autoencoder.'] + counts['decoder.']} tensors" in run.summary["start"]


def test_a_backbone_for_another_model(world: World, first: TrainingRun, tmp_path: Path) -> None:
    plain = {"name": "osnet_x0_25", "feature_dim": 0, "neck": "bnneck", "height": HEIGHT, "width": WIDTH}
    recipe = Recipe.model_validate({**make_recipe(epochs=1).model_dump(), "model": plain})
    run = trained(world, tmp_path / "second", recipe.model_copy(update={"pre_backbone": str(first.folder)}))
    assert run.summary["start"].startswith("backbone: all")


def test_parts_that_do_not_fit(world: World, first: TrainingRun, tmp_path: Path) -> None:
    given = str(first.folder)
    other = trained(world, tmp_path / "other", make_recipe(epochs=1))
    wider = siamese(pre_autoencoder=given).model_dump()
    wider["model"] = {**wider["model"], "autoencoder": {"name": "ae", "code": 12, "hidden": [32, 24]}}
    for recipe, said in (
        (siamese(pre_classifier=str(other.folder)), "pre_classifier=.* has no pair head"),
        (make_recipe(epochs=1, pre_autoencoder=given), "pre_autoencoder=.*model of this recipe has no autoencoder"),
        (Recipe.model_validate(wider), r"pre_autoencoder=.*of another shape"),
        (siamese(pre_backbone="nobody"), "There is no run 'nobody'"),
    ):
        with pytest.raises(UserError, match=said):
            trained(world, tmp_path / "second", recipe)
    with pytest.raises(ValueError, match="start takes the whole model over: leave out pre_backbone"):
        siamese(pre_backbone=given, start=given)


def test_weight_ties_survive_saving(world: World, tmp_path: Path) -> None:
    recipe = siamese()
    tied = Recipe.model_validate({**recipe.model_dump(), "model": {**recipe.model, "tied": True}})
    run = trained(world, tmp_path / "run", tied)
    model: Any = run.load_model()
    codes = torch.randn(2, 16)
    first = model.decoder.hidden[0]
    torch.testing.assert_close(first(codes), codes @ model.autoencoder.tied.weight + first.bias)
