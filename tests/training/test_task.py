"""The task of a training: its sampler sees what it needs of the table."""

from __future__ import annotations

import numpy as np
import pytest
from training_cases import World

from reidlab.errors import UserError
from reidlab.training.recipes import Recipe
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
