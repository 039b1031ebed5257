"""A stage's code digest covers what its parameters name, and nothing that they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reidlab import store
from reidlab.models import build
from reidlab.registry import LOSSES, MODELS, POOLINGS, Entry
from reidlab.store import sources, syntax
from reidlab.training.recipes import list_recipes, load_recipe

STAGE = "reidlab.stages.training"


def modules_of(recipe: str | dict[str, Any]) -> set[str]:
    given = load_recipe(recipe).experiment() if isinstance(recipe, str) else recipe
    return sources.reachable([STAGE], sources.texts_of(given))[0]


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a module look as if a line of it had changed."""
    read = sources.read_module

    def edit(module: str) -> None:
        def changed(file: Path, *stamp: int) -> Any:
            digest, *rest = read(file, *stamp)
            return (f"edited {digest}" if file == sources.source_file(module) else digest, *rest)

        monkeypatch.setattr(sources, "read_module", changed)
        monkeypatch.setattr(sources, "_loaded", {})

    return edit


def digest_of(recipe: str) -> str:
    return sources.code_digest([STAGE], load_recipe(recipe).experiment())


@pytest.mark.parametrize(
    "module, counts",
    [
        ("reidlab.losses.triplet", True),
        ("reidlab.losses.circle", False),
        ("reidlab.losses.supcon", False),
        ("reidlab.models.families.custom_cnn", True),
        ("reidlab.models.families.lightmbn", False),
        ("reidlab.models.families.transreid", False),
        ("reidlab.data.samplers.dealt", True),
        ("reidlab.data.samplers.drawn", False),
        ("reidlab.data.transforms.policies", False),
        ("reidlab.training.tracking", False),
        ("reidlab.retrieval.protocol", False),
        ("reidlab.retrieval.projection", False),
        ("reidlab.training.loop", True),
    ],
)
def test_an_edit_counts_where_the_recipe_uses_it(module: str, counts: bool, edited: Any) -> None:
    before = digest_of("custom_cnn_best")
    edited(module)
    assert (digest_of("custom_cnn_best") != before) is counts


def test_another_loss_in_the_table_serves_the_old_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def train() -> store.Run:
        recipe = load_recipe("custom_cnn_best").experiment()
        return store.stage("training", "x", params={"recipe": recipe}, code=[STAGE], make=_make)

    assert train().made
    new = "".join(["ano", "ther"])  # in one piece it would be a name that this module's own code chooses
    monkeypatch.setitem(LOSSES._own, new, Entry(new, "reidlab.losses.focal:FocalLoss", "one loss more"))
    sources._entries.cache_clear()
    assert not train().made
    used = LOSSES["triplet"]
    moved = Entry("triplet", "reidlab.losses.weighted_triplet:WeightedTripletLoss", used.description)
    monkeypatch.setitem(LOSSES._own, "triplet", moved)
    sources._entries.cache_clear()
    assert train().made


def _make(_folder: Path) -> None:
    """Make nothing."""


def test_a_loss_of_another_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text("import theirs_too\nclass Loss: ...\n")
    (tmp_path / "theirs_too.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    sources._entries.cache_clear(), syntax._folder.cache_clear()
    found = sources.reachable([STAGE], ["theirs:Loss"])[0]
    assert "theirs" in found


@pytest.mark.parametrize(
    "name", [*(entry.name for entry in MODELS.own() if "backbone" not in entry.fixed), "osnet_x0_25"]
)
def test_all_that_a_model_is_built_of_is_found_in_the_source(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle: what the registry hands out while a model is built stands in the set that was read from the source."""
    used: set[str] = set()
    load = Entry.factory.func  # type: ignore[attr-defined]

    def recording(entry: Entry) -> Any:
        used.add(entry.module)
        return load(entry)

    monkeypatch.setattr(Entry, "factory", property(recording))
    build({"name": name, "height": 96, "width": 32}, num_classes=3)
    assert used and used <= sources.reachable([STAGE], [name])[0]


def test_every_recipe_names_its_parts() -> None:
    for name in list_recipes():
        recipe = load_recipe(name)
        found = modules_of(name)
        assert {LOSSES[term.name].module for term in recipe.losses} <= found, name
        assert MODELS.find(recipe.model["name"]).module in found, name
        pooling = recipe.model.get("pooling")
        if isinstance(pooling, str) and pooling:
            assert POOLINGS[pooling].module in found, name
