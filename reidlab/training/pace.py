"""How fast a model embeds and trains on this machine: images per second, the median of several runs after a warm-up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.training.distill import EMA, Lesson
from reidlab.training.engine import Learner
from reidlab.training.loss_options import complete_terms, give_class_counts
from reidlab.training.objective import Objective
from reidlab.training.recipes import Recipe

__all__ = ["Pace", "embedding_pace", "pace_of", "training_pace"]

_TEACHER_DIM = 512
WARM_UP = 1  # runs: the first one chooses kernels and fills caches; the median bears with a slow second


@dataclass(frozen=True)
class Pace:
    """Images per second: in the median run, in the slowest and in the fastest."""

    median: float
    slowest: float
    fastest: float


def pace_of(run: Callable[[], object], images: int, compute: ComputePlan, *, runs: int = 5) -> Pace:
    """Time `run`, which works on so many images, `runs` times after a run that does not count.

    Raises:
        UserError: no run, or no image.
    """
    if runs < 1 or images < 1:
        raise UserError(f"{runs} runs on {images} images cannot be timed; both must be 1 or more.")
    seconds = []
    for _ in range(WARM_UP + runs):
        compute.synchronize()
        began = time.perf_counter()
        run()
        compute.synchronize()
        seconds.append(time.perf_counter() - began)
    counted = seconds[WARM_UP:]
    return Pace(images / statistics.median(counted), images / max(counted), images / min(counted))


def embedding_pace(model: nn.Module, images: Tensor, compute: ComputePlan, *, runs: int = 5) -> Pace:
    """Measure the forward pass at evaluation, of a batch that lies ready on the device.

    Args:
        model: gives embeddings in eval mode; it is moved to the device, and left in eval mode.
        images: [batch, 3, height, width], preprocessed.
        compute: device, precision and memory format.
        runs: that count.
    """
    placed, batch = compute.place(model).eval(), compute.place(images)
    with torch.inference_mode(), compute.autocast():
        return pace_of(lambda: placed(batch), len(batch), compute, runs=runs)


def training_pace(
    recipe: Recipe, model: nn.Module, images: Tensor, compute: ComputePlan, *, num_classes: int, runs: int = 5
) -> Pace:
    """Measure a recipe's training step (forward, losses, backward, optimiser, averages), of a batch that lies ready.

    Every module learns, whatever the recipe freezes at first; a step is one batch, not compiled.

    Args:
        recipe: its losses and its optimiser; its own precision, sampler and size of batches play no part.
        model: as built for `num_classes`; trained a little and moved to the device.
        images: [batch, 3, height, width], preprocessed, four of each identity; for given triplets (ehtm) the anchors,
            positives and negatives of a third of them.
        compute: device, precision and memory format.
        num_classes: identities of the model's classifiers.
        runs: that count.
    """
    plain = recipe.model_copy(update={"compile": False, "accumulate": 1, "freeze": None})
    width = int(model.dim) if EMA in recipe.teachers else _TEACHER_DIM  # type: ignore[arg-type]
    objective = Objective(complete_terms(recipe.losses, model, num_classes, width))
    batch = compute.place(images[: len(images) // 3 * 3] if objective.needs_triplets else images)
    identities = torch.arange(len(batch)) // 4
    if objective.needs_triplets:
        anchors = torch.arange(len(batch) // 3)
        identities = torch.cat([anchors, anchors, anchors + 1])
    labels = compute.place(identities % num_classes)
    give_class_counts(model, np.arange(num_classes))
    learner = Learner(plain, model, objective, compute, steps_per_epoch=100)
    learner.start()
    learner.begin_epoch(0)
    # teachers speak before a training, not in a step: any words do here
    generator = torch.Generator().manual_seed(0)
    said = (torch.randn(len(batch), size, generator=generator) for size in (width, num_classes))
    lesson = Lesson(*(compute.place(each) for each in said))
    return pace_of(lambda: learner.step(batch, labels, 0.0, (), lesson), len(batch), compute, runs=runs)
