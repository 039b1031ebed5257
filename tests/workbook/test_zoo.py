"""What models and recipes cost: golden counts, and nothing downloaded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from reidlab.errors import UserError
from reidlab.models.weights import pretrained
from reidlab.training.recipes import Recipe, load_recipe
from reidlab.workbook import zoo

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 48, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return zoo.examine(zoo.recipes_of_models(["osnet_x0_25", "custom_cnn_v32"]), IMAGES, device="cpu", runs=1)


def test_golden_counts(found: pd.DataFrame) -> None:
    columns = ["height", "width", "parameters", "macs", "dim"]
    assert found.loc["osnet_x0_25", columns].tolist() == [256, 128, 201_864, 82_314_880, 512]
    assert found.loc["custom_cnn_v32", columns].tolist() == [128, 64, 755_988, 77_062_656, 128]
    assert list(found.index) == ["osnet_x0_25", "custom_cnn_v32"] and found.index.name == "name"


def test_what_is_measured(found: pd.DataFrame) -> None:
    for kind in ("evaluation", "training"):
        assert (found[f"{kind}_slowest"] <= found[kind]).all() and (found[kind] <= found[f"{kind}_fastest"]).all()
    assert (found[["evaluation", "training"]] > 0).all(axis=None)
    assert found[["same", "other"]].abs().le(1.001).all(axis=None)


def test_cosines_are_of_the_same_and_of_different_identities() -> None:
    class Pixels(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(images.flatten(1), dim=1)

    images = torch.zeros(8, 1, 1, 2)
    images[:4, ..., 0] = images[4:, ..., 1] = 1
    assert zoo._cosines(Pixels(), images) == {"same": 1.0, "other": 0.0}


def test_random_weights_come_from_the_seed_and_disturb_no_other_draws() -> None:
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    chosen = zoo.recipes_of_names(["demo"])
    one, two = (zoo.examine(chosen, IMAGES, device="cpu", runs=1, seed=seed) for seed in (1, 2))
    assert one["other"].item() != two["other"].item()
    assert torch.equal(torch.rand(1), first)


def test_readable() -> None:
    frame = pd.DataFrame(
        {"height": [256], "width": [128], "parameters": [11_176_512], "macs": [1_989_672_960], "dim": [2048]},
        index=["x"],
    ).assign(evaluation=1234.5, training=9.6)
    assert zoo.readable(frame).iloc[0].tolist() == ["256 x 128", "11.18", "1,989.67", "2,048", "1,234", "9.6"]


def test_models_by_wildcards_with_a_plain_recipe() -> None:
    chosen = zoo.recipes_of_models(["osnet_x0_?5", "timm/regnety_002"])
    assert list(chosen) == ["osnet_x0_75", "osnet_x0_25", "timm/regnety_002"]
    assert all(recipe.losses == chosen["osnet_x0_25"].losses for recipe in chosen.values())
    with pytest.raises(UserError, match="Did you mean 'osnet_x0_5'"):
        zoo.recipes_of_models(["osnet_x0_52"])


def test_recipes_never_download(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[str] = []
    monkeypatch.setattr(pretrained, "download", wanted.append)
    source = load_recipe("demo")
    model = {"name": "mobilenetv3_small_100", "weights": "pretrained", "height": 64, "width": 32}
    monkeypatch.setattr(zoo, "load_recipe", lambda name: Recipe.model_validate({**source.model_dump(), "model": model}))
    chosen = zoo.recipes_of_names(["demo"])
    assert chosen["demo"].model == {**model, "weights": ""} and chosen["demo"].losses == source.losses
    assert zoo.examine(chosen, IMAGES, device="cpu", runs=1)["dim"].item() == 576 and wanted == []


def test_all_recipes_that_there_are() -> None:
    chosen = zoo.recipes_of_names()
    assert {"demo", "custom_cnn_v32"} <= set(chosen)
    assert not any(recipe.model.get("weights") for recipe in chosen.values())
    with pytest.raises(UserError, match="Did you mean 'demo'"):
        zoo.recipes_of_names(["demmo"])


def test_images_are_four_of_each() -> None:
    for wrong in (IMAGES[:4], IMAGES[:7], IMAGES[..., 0]):
        with pytest.raises(UserError, match="images must be"):
            zoo.examine({}, wrong)


def test_the_machine_is_named_without_its_host() -> None:
    import platform

    said = zoo.measured_on("cpu", "float32")
    assert said.startswith("cpu, ") and "float32" in said and "torch 2" in said and platform.node() not in said
