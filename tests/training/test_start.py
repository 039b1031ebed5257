"""Trainings that begin from a trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from training_cases import World, make_recipe, same_weights, train, trained, weights_in

from reidlab.errors import UserError
from reidlab.models.saved import saved_model
from reidlab.training.recipes import Recipe
from reidlab.training.run import TrainingRun


@pytest.fixture(scope="module")
def first(world: World, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained(world, tmp_path_factory.mktemp("first") / "run", make_recipe(epochs=1))


def still(start: Path, **changes: Any) -> Recipe:
    """A recipe whose only step changes next to nothing."""
    optimizer = {"lr": 1e-12, "weight_decay": 0.0}
    return make_recipe(epochs=1, start=str(start), optimizer=optimizer, schedule={"name": "constant"}, **changes)


def learnt(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights.items() if "running" not in name and "num_batches" not in name}


@pytest.mark.parametrize("inner", [False, True])
def test_it_begins_where_the_other_ended(world: World, first: TrainingRun, tmp_path: Path, inner: bool) -> None:
    start = first.folder / "model" if inner else first.folder
    run = trained(world, tmp_path / "second", still(start))
    old, new = learnt(weights_in(first.folder)), learnt(weights_in(run.folder))
    assert old.keys() == new.keys() and any(name.startswith("classifiers.") for name in new)
    for name, tensor in old.items():
        torch.testing.assert_close(new[name], tensor, rtol=0, atol=1e-9)
    assert "0 missing, 0 unused" in run.summary["start"] and "at random" not in run.summary["start"]
    assert run.history["loss"][0] < first.history["loss"][0]


def test_other_identities_have_classifiers_of_their_own(world: World, first: TrainingRun, tmp_path: Path) -> None:
    other = world.table.copy()
    train = other["split"] == "train"
    other.loc[train, "pid"] = other.loc[train, "pid"].to_numpy()[::-1]  # as many, but other images
    run = trained(World(other, world.pixels), tmp_path / "second", still(first.folder))
    old, new = learnt(weights_in(first.folder)), learnt(weights_in(run.folder))
    for name, tensor in old.items():
        assert torch.allclose(new[name], tensor, rtol=0, atol=1e-9) != name.startswith("classifiers."), name
    assert "Classifiers begin at random" in run.summary["start"]


def test_another_size_and_the_first_models_normalisation(world: World, first: TrainingRun, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (first.folder / "model").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    config["preprocess"] |= {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    (copy / "config.json").write_text(json.dumps(config))
    run = trained(world, tmp_path / "second", still(copy, model={"height": 48, "width": 24}))
    preprocess = run.load_model().preprocess
    assert (preprocess.height, preprocess.width) == (48, 24)
    assert (preprocess.mean, preprocess.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


def test_a_stopped_one_goes_on_to_the_bit(world: World, first: TrainingRun, tmp_path: Path) -> None:
    recipe = make_recipe(epochs=2, start=str(first.folder))
    whole = trained(world, tmp_path / "whole", recipe)
    assert train(world, tmp_path / "parts", recipe, stop_after=1) is None
    parts = trained(world, tmp_path / "parts", recipe)
    assert same_weights(weights_in(whole.folder), weights_in(parts.folder))


def test_models_that_do_not_fit(world: World, first: TrainingRun, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given, words in [("nobody", "There is no run 'nobody'"), (str(tmp_path / "empty"), "holds no saved model")]:
        with pytest.raises(UserError, match=words):
            saved_model(given)
    other = make_recipe(epochs=1, start=str(first.folder)).model_copy(
        update={"model": {"name": "osnet_x0_25", "neck": "bnneck", "height": 32, "width": 16}}
    )
    with pytest.raises(UserError, match=r"start=.*only 0% of the model's tensors match"):
        trained(world, tmp_path / "second", other)
