"""The task of a training: its sampler sees what it needs of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_cases import World

from reidlab.errors import UserError
from reidlab.training.recipes import Recipe, SamplerPart, load_recipe
from reidlab.training.task import make_task

RECIPE = Recipe(
    name="by camera",
    source="test",
    expected="nothing",
    model={"name": "custom_cnn_v32"},
    sampler={"name": "camera", "identities": 4, "images": 3},
    losses=({"name": "triplet", "feature": "before"},),
)


def test_the_camera_sampler_sees_the_cameras(world: World) -> None:
    task = make_task(RECIPE, world.table, world.pixels, None, 0, needs_triplets=False)
    cameras, labels = world.table["camid"].to_numpy(), task.labels
    for batch in task.sampler.batches(0):
        rows = task.rows(batch)
        for label in np.unique(labels[rows]):
            assert len(set(cameras[rows[labels[rows] == label]])) == 3  # of three


def test_it_refuses_a_table_without_cameras(world: World) -> None:
    bare = world.without("camid")
    with pytest.raises(UserError, match="camera"):
        make_task(RECIPE, bare.table, bare.pixels, None, 0, needs_triplets=False)


def test_a_small_share_of_images_is_warned_of_with_the_remedy(world: World) -> None:
    table = world.table
    train = table["split"] == "train"
    nth = table.groupby("pid").cumcount()
    few = world.changed(split=table["split"].where(~train | (nth < 2) | (table["pid"] < 2), "query"))
    recipe = RECIPE.model_copy(update={"sampler": SamplerPart(name="pk", identities=8, images=2)})
    words = (
        r"sampler pk: An epoch sees 16 of 36 images \(44%\)\. Few identities have most of the images.*sampler shuffle"
    )
    with pytest.warns(UserWarning, match=words):
        make_task(recipe, few.table, few.pixels, None, 0, needs_triplets=False)
    fewer = recipe.model_copy(update={"sampler": SamplerPart(name="pk", identities=2, images=2)})
    make_task(fewer, few.table, few.pixels, None, 0, needs_triplets=False)  # warnings are errors: there is none


def test_too_few_identities_are_answered_with_the_two_lines_that_work(world: World, tmp_path: Path) -> None:
    train, pids = world.table["split"] == "train", world.table["pid"]
    kept = pids[train].unique()[:5]
    few = world.changed(split=world.table["split"].where(~train | pids.isin(kept), "query"))
    with pytest.raises(UserError, match="needs 8 identities per batch; the training split has 5") as caught:
        make_task(load_recipe("demo"), few.table, few.pixels, None, 0, needs_triplets=False)
    said, *lines = str(caught.value).splitlines()
    assert "two lines into demo_5.yaml and train with `-p recipe demo_5.yaml`" in said
    file = tmp_path / "demo_5.yaml"
    file.write_text("\n".join(line.removeprefix("  ") for line in lines))
    recipe = load_recipe(file)
    task = make_task(recipe, few.table, few.pixels, None, 0, needs_triplets=False)
    assert {len(set(task.labels[task.rows(batch)])) for batch in task.sampler.batches(0)} == {5}
    assert recipe.sampler.images == load_recipe("demo").sampler.images
    own = recipe.model_copy(update={"name": "mine", "sampler": SamplerPart(name="pk", identities=9)})
    with pytest.raises(UserError, match=r"In your recipe:\n  sampler: \{identities: 5\}$"):
        make_task(own, few.table, few.pixels, None, 0, needs_triplets=False)


def test_one_identity_has_no_recipe(world: World) -> None:
    train, pids = world.table["split"] == "train", world.table["pid"]
    one = world.changed(split=world.table["split"].where(~train | (pids == pids[train].iloc[0]), "query"))
    with pytest.raises(UserError, match=r"or give more identities\.$"):
        make_task(load_recipe("demo"), one.table, one.pixels, None, 0, needs_triplets=False)
