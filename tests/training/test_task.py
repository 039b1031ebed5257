"""The task of a training: its sampler sees what it needs of the table."""

from __future__ import annotations

import numpy as np
import pytest
from training_cases import World

from reidlab.errors import UserError
from reidlab.training.recipes import Recipe, SamplerPart
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
