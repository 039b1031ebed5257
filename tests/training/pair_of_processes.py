"""What one process and two are compared by: the same functions, run by the test and by each process of a pair.

`python pair_of_processes.py RANK SIZE FOLDER` runs them as one process of a group and keeps what it found in FOLDER.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor, nn
from training_cases import make_recipe

from reidlab.data.pixels import PixelStore
from reidlab.devices import plan
from reidlab.models import Output, build
from reidlab.training.engine import Learner
from reidlab.training.group import Group
from reidlab.training.job import Job
from reidlab.training.loop import train
from reidlab.training.objective import Objective
from reidlab.training.synced_norms import synced_batch_norm
from reidlab.training.worker import leave_at_once

CLASSES, STEPS, BATCH = 5, 4, 15  # an odd batch: slices of 8 and 7
LOSSES = [
    {"name": "cross_entropy", "feature": "logits", "options": {"label_smoothing": 0.1}},
    {"name": "triplet", "feature": "before", "options": {"margin": 0.3}},
    {"name": "center", "feature": "after", "weight": 0.05, "options": {"num_classes": CLASSES, "dim": 6}},
]
SIAMESE = {
    "name": "siamese_autoencoder",
    "backbone": "test_efficientnet",
    "last_stride": 2,
    "autoencoder": {"name": "ae", "code": 6, "hidden": [8], "dropout": 0.0},
    "decoder": {"name": "direct", "hidden": 8},
    "pair_head": "difference",
    "height": 32,
    "width": 16,
}
CASES: dict[str, dict[str, Any]] = {
    "no norms": {"norms": False},
    "synchronised norms": {"sync_norms": True},
    "a network of ours": {"model": make_recipe(model={"dropout": 0.0}).model, "sync_norms": True, "losses": LOSSES[:2]},
    "a Siamese autoencoder": {
        "model": SIAMESE,
        "sync_norms": True,
        "losses": [
            LOSSES[1],
            {"name": "reconstruction", "feature": "reconstruction"},
            {"name": "pair_bce", "feature": "pairs", "weight": 0.3},
        ],
        "balance": {"name": "pcgrad"},
    },
    "accumulated, clipped, frozen": {
        "sync_norms": True,
        "accumulate": 2,
        "clip_norm": 0.5,
        "freeze": {"epochs": 1, "modules": "backbone"},
    },
    "its own average teaches": {
        "sync_norms": True,
        "ema": {"decay": 0.5},
        "teachers": "ema",
        "losses": [LOSSES[0], {"name": "js", "feature": "logits"}, {"name": "relational_kd", "feature": "after"}],
    },
    "pcgrad": {"sync_norms": True, "balance": {"name": "pcgrad", "cosines": True}},
    "gradnorm": {"norms": False, "balance": {"name": "gradnorm"}},
    "uncertainty": {"norms": False, "balance": {"name": "uncertainty"}},
}
UNSYNCED = {"norms that see a slice": {}}

Found = dict[str, dict[str, Any]]


class Toy(nn.Module):
    """A convolution, a neck and a classifier."""

    def __init__(self, norms: bool) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(6) if norms else nn.GroupNorm(2, 6)
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, bias=False), norm, nn.Tanh())
        self.neck = nn.BatchNorm1d(6) if norms else nn.Linear(6, 6)
        self.classifiers = nn.ModuleList([nn.Linear(6, CLASSES)])
        self.unused = nn.Parameter(torch.ones(3))  # has no gradient, and must not get one

    def forward(self, images: Tensor) -> Any:
        before = self.backbone(images).mean((2, 3))
        after = self.neck(before)
        return Output(before, after, (self.classifiers[0](after),)) if self.training else after


def steps(group: Group, *, norms: bool = True, model: Any = None, **changes: Any) -> dict[str, Any]:
    """Return losses, gradients of all parameters, and weights of a few steps in float64."""
    torch.manual_seed(1)
    options = {"optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}, "losses": LOSSES, **changes}
    recipe = make_recipe(epochs=STEPS, **options)
    model = (build(model, CLASSES) if model else Toy(norms)).double()
    objective = Objective(recipe.losses, recipe.balance, group).double()
    learner = Learner(recipe, model, objective, plan("cpu", "float32"), STEPS, group)
    learner.start()
    gradients: list[dict[str, Tensor]] = []
    real = learner._step_losses

    def noted() -> None:
        named = [*model.named_parameters(), *objective.named_parameters()]
        gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})
        real()

    learner._step_losses = noted  # type: ignore[method-assign]
    learner.begin_epoch(0)
    losses = []
    for step in range(STEPS):
        images, labels = batch(step)
        loss, _ = learner.step(images[group.part(BATCH)], labels, 0.0, ())
        losses.append(float(loss))
    learner.end_epoch(0)
    return {"losses": losses, "gradients": gradients, "weights": model.state_dict(), "stats": objective.stats}


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Return a batch of five identities with three images each."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.arange(BATCH) // 3
    noise = torch.randn(BATCH, 3, 32, 16, generator=generator, dtype=torch.float64)
    return noise + 0.3 * labels[:, None, None, None] - 0.1 * labels[:, None, None, None] ** 2, labels


def norm(group: Group, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Return what a batch norm makes of a slice and of its gradient, put together, and its running statistics."""
    generator = torch.Generator().manual_seed(3)
    whole = torch.randn(*shape, generator=generator, dtype=torch.float64) * 3 + 100
    gradient = torch.randn(*shape, generator=generator, dtype=torch.float64)
    weight, bias, mean, var = torch.linspace(0.5, 2, shape[1], dtype=torch.float64).repeat(4, 1).unbind()
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    mean, var = mean.clone(), var.clone()
    own = whole[group.part(len(whole))].clone().requires_grad_()
    if group.size == 1:
        made = torch.nn.functional.batch_norm(own, mean, var, weight, bias, True, 0.1, 1e-5)
    else:
        made = synced_batch_norm(group, own, mean, var, weight, bias, 0.1, 1e-5)
    made.backward(gradient[group.part(len(whole))])
    by_weights = group.add(torch.stack([weight.grad, bias.grad]))  # type: ignore[list-item]
    together = group.whole((made.detach(), own.grad), len(whole))
    return {"made": together[0], "by_images": together[1], "by_weights": by_weights, "mean": mean, "var": var}  # type: ignore[dict-item]


def everything(group: Group) -> Found:
    """Return what is compared in float64."""
    found: Found = {name: steps(group, **options) for name, options in (CASES | UNSYNCED).items()}
    found |= {f"norm {len(shape)}": norm(group, shape) for shape in ((9, 4), (7, 4, 5, 3), (6, 3, 8))}
    return found


def trainings(group: Group, job: Job, folder: Path) -> None:
    """Train whole, and with a stop after the first epoch."""
    train(dataclasses.replace(job, folder=folder / "whole"), group)
    for stop in (1, None):
        torch.rand(17)  # what happens in between does not matter
        train(dataclasses.replace(job, folder=folder / "stopped", stop_after=stop), group)


def pair_recipe() -> Any:
    """Return a recipe with dropout, whose norms see slices."""
    return make_recipe(epochs=3, ema={"decay": 0.9}, precise_bn=1, accumulate=2)


def exact_recipe() -> Any:
    """Return a recipe that several processes train as one does."""
    sgd = {"name": "sgd", "lr": 1e-3}  # more, and hard triplets that change by the last digits move the next ones
    return make_recipe(model={"dropout": 0.0}, sync_norms=True, epochs=2, validate_every=1, optimizer=sgd)


def main(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    group = Group.join("cpu", store=dist.FileStore(str(folder / "store"), size), rank=rank, world_size=size)
    torch.save(everything(group), folder / f"found-{rank}.pt")
    table = pd.read_parquet(folder / "table.parquet")
    pixels = PixelStore(Path((folder / "pixels").read_text()), len(table), (32, 16))
    job = Job(pair_recipe(), table, pixels, folder, seed=3, device="cpu", progress=False, tracking=("tensorboard",))
    trainings(group, job, folder)
    train(dataclasses.replace(job, recipe=exact_recipe(), folder=folder / "exact", tracking=()), group)
    group.share(None)  # nobody leaves while another still needs it
    group.leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    leave_at_once(0)
