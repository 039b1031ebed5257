"""fit against a loop in plain torch: a recipe without extras trains to the same bits, whatever the extras can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_cases import World, make_recipe, same_weights, trained, weights_in

from reidlab.data.transforms import Augment
from reidlab.devices import plan
from reidlab.models import Output, build
from reidlab.training.batches import BatchMaker
from reidlab.training.curves import one_cycle
from reidlab.training.objective import Objective
from reidlab.training.recipes import Recipe
from reidlab.training.task import make_task

SEED = 11
CASES: dict[str, dict[str, Any]] = {
    "adamw, onecycle": {},
    "ehtm, adam, constant": {"kind": "ehtm", "schedule": {"name": "constant"}},
    "sgd, accumulate, clip, warm-up": {
        "optimizer": {"name": "sgd", "lr": 0.01, "weight_decay": 1e-3},
        "schedule": {"name": "warmup_multistep", "steps": [2], "warmup_epochs": 1},
        "accumulate": 2,
        "clip_norm": 0.5,
    },
}


def plain_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    given = recipe.optimizer
    trainable = [p for p in model.parameters() if p.requires_grad]
    if given.name == "sgd":
        return torch.optim.SGD(trainable, given.lr, momentum=0.9, weight_decay=given.weight_decay, fused=True)
    if given.name == "adam":
        return torch.optim.Adam(trainable, given.lr, weight_decay=given.weight_decay, fused=True)
    kernels = {"params": [p for p in trainable if p.dim() > 1]}
    vectors = {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0}
    return torch.optim.AdamW([kernels, vectors], given.lr, weight_decay=given.weight_decay, fused=True)


def plain_factor(recipe: Recipe, epoch: int, share: float, total: int) -> float:
    """The published values; epochs of the PK sampler differ in length, so `share` of an epoch may lie between steps."""
    name = recipe.schedule["name"]
    if name == "constant":
        return 1.0
    if name == "warmup_multistep":  # one epoch at 0.01, then a tenth from epoch 2 on
        return (0.01, 1.0, 0.1, 0.1)[epoch]
    return one_cycle((epoch + share) * (total // recipe.epochs), total_steps=total)


def plain_training(world: World, recipe: Recipe) -> dict[str, torch.Tensor]:
    """Train by the textbook: no accelerator, no checkpoints, no validation, no thread."""
    torch.manual_seed(SEED)
    objective = Objective(recipe.losses)
    compute = plan("cpu", "float32")
    task = make_task(recipe, world.table, world.pixels, None, SEED, needs_triplets=objective.needs_triplets)
    model = build(recipe.model, 0 if objective.needs_triplets else task.n_identities)
    optimizer = plain_optimizer(recipe, model)
    model.to(memory_format=torch.channels_last)
    augment = Augment(**recipe.augment.model_dump())
    make = BatchMaker(world.pixels, augment, model.preprocess, compute, SEED)  # type: ignore[arg-type]
    group = recipe.accumulate
    nominal = len(task.sampler.batches(0)) // group * group
    for epoch in range(recipe.epochs):
        batches = task.sampler.batches(epoch)
        batches = batches[: len(batches) // group * group]
        model.train()
        for step, batch in enumerate(batches):
            rows = task.rows(batch)
            factor = plain_factor(recipe, epoch, step / len(batches), nominal * recipe.epochs)
            for part in optimizer.param_groups:
                part["lr"] = recipe.optimizer.lr * factor
            loss = objective(Output(*model(make(rows, epoch, step))), torch.from_numpy(task.labels[rows]))
            (loss / group).backward()
            if (step + 1) % group == 0:
                if recipe.clip_norm:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
                optimizer.step()
                optimizer.zero_grad()
    return dict(model.state_dict())


@pytest.mark.parametrize("case", CASES)
def test_without_extras_every_bit_is_that_of_a_plain_loop(world: World, tmp_path: Path, case: str) -> None:
    recipe = make_recipe(**CASES[case], validate_every=9)
    unvalidated = world.changed(split=world.table["split"].replace("val", "gallery"))
    run = trained(unvalidated, tmp_path, recipe, seed=SEED)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            expected = plain_training(world, recipe)
    finally:
        torch.set_num_threads(threads)
    assert same_weights(weights_in(run.folder), expected)
