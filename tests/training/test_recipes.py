"""Recipes: the shipped ones work, and mistakes in a user's own are named with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from training_cases import make_recipe

from reidlab.data.samplers import SAMPLERS, build_sampler
from reidlab.data.transforms import Augment
from reidlab.devices import PRECISIONS
from reidlab.errors import UserError
from reidlab.paths import RECIPES
from reidlab.training.recipes import Recipe, list_recipes, load_recipe


def write(folder: Path, content: Any, name: str = "own.yaml") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def plain(**changes: Any) -> dict[str, Any]:
    content = make_recipe().model_dump(mode="json") | changes
    del content["name"]
    return content


def test_the_list_is_the_folder() -> None:
    assert list_recipes() == sorted(p.stem for p in RECIPES.iterdir()) and "demo" in list_recipes()


def test_changes_replace_and_none_leaves() -> None:
    recipe = load_recipe("demo", epochs=3, validate_every=None)
    assert recipe.epochs == 3 and recipe.validate_every == load_recipe("demo").validate_every


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path, plain(epochs=7))
    for given in (path, str(path)):
        recipe = load_recipe(given)
        assert recipe.name == "own" and recipe.epochs == 7
    assert load_recipe(write(tmp_path, plain() | {"name": "other"}, "x.yml")).name == "other"


def test_a_file_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path, plain())
    assert load_recipe("~/own.yaml").name == "own"


def test_scientific_notation_without_a_point_is_a_number(tmp_path: Path) -> None:
    """YAML 1.1 reads 3e-3 as text; a recipe takes it as the number that is meant."""
    text = yaml.safe_dump(plain()).replace("lr: 0.001", "lr: 3e-3")
    assert load_recipe(write(tmp_path, text)).optimizer.lr == 0.003


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch": 5}, "epoch: Extra inputs .* given 5. Did you mean 'epochs'"),
        ({"sampler": {"identites": 4}}, "sampler.identites: .* Did you mean 'identities'"),
        ({"optimizer": {"learning_rate": 1}}, "optimizer.learning_rate"),
        ({"optimizer": {"weight_deca": 1}}, "optimizer.weight_deca: .*Did you mean 'weight_decay'"),
        ({"augment": {"flips": 1}}, "augment.flips: .*Did you mean 'flip'"),
        (
            {"losses": [{"name": "triplet", "feature": "after", "wieght": 2}]},
            "losses.0.wieght: .*Did you mean 'weight'",
        ),
        ({"losses": [{"name": "triplet", "feature": "middle"}]}, "losses.0.feature: .*'before'.*given 'middle'"),
        ({"losses": []}, "losses: .*at least 1"),
        ({"losses": [{"name": "triplet", "feature": "after", "weight": -1}]}, "losses.0.weight: .*greater than 0"),
        ({"epochs": "many"}, "epochs: .*integer.*given 'many'"),
        ({"epochs": 0}, "epochs: .*greater than or equal to 1, given 0"),
        ({"accumulate": 0}, "accumulate"),
        ({"clip_norm": -1}, "clip_norm"),
        ({"augment": {"flip": 2}}, "augment.flip: .*given 2"),
        ({"optimizer": {"name": "adma"}}, "optimizer.name: .*'adam', 'adamw' or 'sgd'.*given 'adma'"),
        ({"precision": "half"}, "precision"),
        ({"model": "custom_cnn_v32"}, "model: .*dictionary"),
        ({1: 2}, "the name '1', read as 1, must be text"),
        ({"optimizer": {"nesterov": True}}, "optimizer: nesterov: true goes with name: sgd and a momentum above 0\\.$"),
        ({"optimizer": {"name": "sgd", "nesterov": True, "momentum": 0}}, "optimizer: nesterov: true goes with"),
        ({"optimizer": {"new_layer_factor": 2}}, "Did you mean 'new_layers_factor'"),
        ({"optimizer": {"bias_factor": 0}}, "optimizer.bias_factor: .*greater than 0, given 0"),
        ({"freeze": {"epoch": 2}}, "freeze.epoch: .*Did you mean 'epochs'"),
        ({"freeze": {"epochs": 0}}, "freeze.epochs: .*greater than or equal to 1"),
        ({"freeze": {}}, "freeze.epochs: Field required"),
        ({"ema": {"deccay": 0.9}}, "ema.deccay: .*Did you mean 'decay'"),
        ({"ema": {"decay": 1}}, "ema.decay: .*less than 1, given 1"),
        ({"swa": {"start": 4}}, "together: swa.start=4 must be less than epochs=4, or nothing is averaged"),
        ({"swa": {"begin": 4}}, "swa.begin: Extra inputs"),
        ({"swa": {"start": 1}, "ema": {}}, "together: ema and swa are two averages of the same weights"),
        ({"swa": {"start": 1}, "freeze": {"epochs": 2}}, "swa.start=1 must not come before freeze.epochs=2"),
        (
            {"sampler": {"name": "shuffle", "identities": 16}},
            "sampler: 'shuffle' has no identities=16; it has batch\\.$",
        ),
        ({"sampler": {"batch": 32}}, "sampler: 'pk' has no batch=32; it has identities, images, replacement"),
        ({"sampler": {"name": "ehtm", "by": "image"}}, "sampler: 'ehtm' has no by=image; it has identities, images"),
        ({"sampler": {"name": "shuffle", "batch": 1}}, "sampler.batch: .*greater than or equal to 2, given 1"),
        ({"precise_bn": -1}, "precise_bn: .*greater than or equal to 0"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, changes: dict[Any, Any], words: str) -> None:
    with pytest.raises(UserError, match=rf"recipe own.yaml cannot be used:\n(.*\n)*.*{words}|{words}"):
        load_recipe(write(tmp_path, plain() | changes))


def test_extras_are_read_and_off_by_default(tmp_path: Path) -> None:
    recipe = make_recipe()
    assert (recipe.freeze, recipe.ema, recipe.swa, recipe.precise_bn) == (None, None, None, 0)
    text = "{freeze: {epochs: 2, modules: network}, ema: {}, precise_bn: 20}"
    recipe = load_recipe(write(tmp_path, plain() | yaml.safe_load(text)))
    assert recipe.freeze is not None and recipe.freeze.modules == ("network",)
    assert recipe.ema is not None and recipe.ema.decay == 0.9998 and recipe.ema.warmup and recipe.precise_bn == 20
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_missing_values_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(write(tmp_path, {"epochs": 3}))
    assert all(f"{name}: Field required" in str(caught.value) for name in ("source", "expected", "model", "losses"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("losses: [", "recipe own.yaml: is not YAML: .* in line 1"),
        ("- a\n- b\n", "recipe own.yaml: holds a list; expected lines `name: value`"),
        ("", "cannot be used:\n  source: Field required"),
        ("just text", "holds a str"),
        ("!!python/object/apply:os.system ['true']", "tag '!!python/object/apply:os.system' cannot be read"),
        ("[" * 100_000, "nested more than 32 deep"),
        ("epochs: 4\nepochs: 5\n", "'epochs' is given twice, in lines 1 and 2"),
        ("optimizer: {lr: .nan}", "`optimizer.lr` is nan, not a finite number"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_recipe(write(tmp_path, content))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(UserError, match=r"recipe own.yaml: is not UTF-8 text"):
        load_recipe(tmp_path / "own.yaml")


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'dmeo' does not exist; choose from .*demo.*Did you mean 'demo'"):
        load_recipe("dmeo")
    with pytest.raises(UserError, match=r"missing\.yaml': there is no such file"):
        load_recipe(tmp_path / "missing.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match="there is no such file"):
        load_recipe(tmp_path / "folder.yaml")
    with pytest.raises(UserError, match="does not exist"):
        load_recipe("x" * 300)
    with pytest.raises(UserError, match="is longer than a path may be"):
        load_recipe("x" * 300 + ".yaml")


def test_a_recipe_is_frozen_and_knows_the_precisions() -> None:
    recipe = load_recipe("demo")
    with pytest.raises(ValidationError):
        recipe.epochs = 3
    for precision in PRECISIONS:
        assert load_recipe("demo", precision=precision).precision == precision
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_a_recipe_on_top_of_another(tmp_path: Path) -> None:
    """Mappings without a name change values one by one, all else is replaced."""
    write(tmp_path, plain(name="its own", epochs=7, schedule={"name": "onecycle", "pct_start": 0.1}), "below.yaml")
    own = {
        "base": str(tmp_path / "below.yaml"),
        "model": {"height": 48},
        "schedule": {"name": "cosine"},
        "losses": [{"name": "triplet", "feature": "after"}],
        "source": "mine",
    }
    below, recipe = load_recipe(tmp_path / "below.yaml"), load_recipe(write(tmp_path, own), validate_every=3)
    assert (recipe.name, recipe.source, recipe.epochs, recipe.validate_every) == ("own", "mine", 7, 3)
    assert recipe.model == {**below.model, "height": 48} and recipe.schedule == {"name": "cosine"}
    assert [term.name for term in recipe.losses] == ["triplet"] and recipe.optimizer == below.optimizer
    write(tmp_path, {"base": "demo", "epochs": 2}, "middle.yml")
    third = load_recipe(write(tmp_path, {"base": str(tmp_path / "middle.yml"), "sampler": {"identities": 4}}))
    demo = load_recipe("demo")
    assert third.model_copy(update={"name": "demo", "epochs": demo.epochs, "sampler": demo.sampler}) == demo
    assert (third.epochs, third.sampler.identities, third.sampler.images) == (2, 4, demo.sampler.images)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"base": "dmeo"}, r"'dmeo' does not exist; choose from .*Did you mean 'demo'"),
        ({"base": {"name": "demo"}}, r"recipe own\.yaml: its base must be a recipe's name or a \.yaml file, not \{"),
        ({"base": "own.yaml"}, r"recipe own\.yaml: its base leads back to itself"),
        ({"base": "demo", "epoch": 3}, r"recipe own\.yaml cannot be used:\n  epoch: .*Did you mean 'epochs'"),
    ],
)
def test_bases_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        load_recipe(write(tmp_path, content))


STEPS = [{"name": "random_2d_translation", "p": 0.5}, {"name": "cutout", "size": 8, "fill": [0.5, 0.5, 0.5]}]


def test_steps_of_a_recipe_become_transforms(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, plain(augment={"flip": 0.5, "steps": STEPS})))
    augment = Augment(**recipe.augment.model_dump())
    images = torch.randint(0, 256, (8, 3, 16, 8), dtype=torch.uint8)
    changed = augment(images, torch.Generator().manual_seed(0))
    expected = Augment(flip=0.5, steps=STEPS)(images, torch.Generator().manual_seed(0))
    assert torch.equal(changed, expected) and not torch.equal(changed, images)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert load_recipe("demo").augment.steps == ()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"name": "random_2d_translatoin"}, "augment.steps: .*step 2: .*Did you mean 'random_2d_translation'"),
        ({"name": "cutout", "sise": 8}, "augment.steps: .*step 2: .*no option 'sise'.*Did you mean 'size'"),
        ({"name": "cutout", "p": 2}, "augment.steps: .*step 2: .*p=2.0 must be a probability"),
        ({"p": 0.5}, "augment.steps: .*step 2 must be a mapping with a name"),
        ("cutout", "augment.steps.1: .*dictionary.*given 'cutout'"),
    ],
)
def test_wrong_steps_are_named(tmp_path: Path, step: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_recipe(write(tmp_path, plain(augment={"steps": [STEPS[0], step]})))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_can_be_named(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"batch": 6} if name == "shuffle" else {"identities": 2, "images": 3}
    options |= {"by": "image"} if name == "weighted" else {}
    part = load_recipe(write(tmp_path, plain(sampler={"name": name, **options}))).sampler
    assert set(part.model_dump()) == {"name", *SAMPLERS.options(name)} and type(part)(**part.model_dump()) == part
    labels = np.repeat(np.arange(4), 5)
    given = part.model_dump(exclude={"name"}, exclude_none=True)
    sampler = build_sampler(part.name, labels, cameras=labels % 2, **given)
    assert len(sampler.batches(0)[0]) == 6
