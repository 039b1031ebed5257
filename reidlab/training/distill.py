"""Knowledge distillation: what trained models say of the training images, for the losses that learn from a teacher.

The teachers look once, before the training, at every image as it is and mirrored; the student then sees augmented
images and learns to say the same (the clean teacher and noised student of Xie et al. 2020, "Self-training with Noisy
Student"). The lessons fit in memory, so that a teacher of any size costs nothing in a step. Several teachers are
averaged (an ensemble distilled into one model: Hinton, Vinyals, Dean 2015); their logits as they are, so that scaled
cosines weigh more than the logits of a linear classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.data.pixels import PixelStore
from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.models import Output
from reidlab.models.inference import embed_rows
from reidlab.models.parts.classifiers import CosineClassifier
from reidlab.paths import data_root
from reidlab.training.lessons import KINDS, kept_lessons, lesson_file, remember
from reidlab.training.recipes import Recipe
from reidlab.training.task import Task
from reidlab.training.teachers import EMA, Teacher, class_logits, find_teacher, speaking

__all__ = [
    "EMA",
    "Lesson",
    "Teachers",
    "check_student",
    "check_teachers",
    "dim_of",
    "lesson_of",
    "make_teachers",
    "told_of",
]


class Lesson(NamedTuple):
    """The teachers' outputs for one batch; None where no loss needs them.

    Attributes:
        features: L2-normalised embeddings side by side [batch, sum of dims], so that cosines are means over teachers.
        logits: of the training identities [batch, class], the mean over teachers and their classifiers.
    """

    features: Tensor | None = None
    logits: Tensor | None = None


class Teachers:
    """Lessons of all training images.

    Args:
        rows: table row of each lesson [lesson].
        features: [lesson, dim], or None.
        logits: [lesson, class], or None.

    Attributes:
        note: who the teachers are, for manifests.
    """

    def __init__(self, rows: np.ndarray, features: Tensor | None, logits: Tensor | None, note: str = "") -> None:
        self._place = np.full(int(rows.max()) + 1, -1)
        self._place[rows] = np.arange(len(rows))
        self._said, self.note = Lesson(features, logits), note

    @property
    def dim(self) -> int:
        """Return the size of the features; 0 without."""
        return 0 if self._said.features is None else self._said.features.shape[1]

    def lesson(self, rows: np.ndarray) -> Lesson:
        """Return the lesson of a batch of table rows [batch]."""
        places = torch.from_numpy(self._place[rows])
        return Lesson(*(None if said is None else said[places.to(said.device)] for said in self._said))


def check_teachers(recipe: Recipe) -> None:
    """Refuse a distillation loss without a teacher, and teachers that no loss learns from.

    Raises:
        UserError: saying what to add.
    """
    terms = [term for term in recipe.losses if term.learns_from_teacher]
    if recipe.teachers and not terms:
        raise UserError(
            f"recipe {recipe.name} has teachers, but none of its losses learns from one: add js, kl or kd on logits, "
            "or relational_kd or feature_kd on a feature (`reidlab losses`)."
        )
    if EMA in recipe.teachers and (len(recipe.teachers) > 1 or recipe.ema is None):
        raise UserError(
            f"recipe {recipe.name}: the teacher {EMA!r} is the moving average of the student's own weights: it teaches "
            "alone (`teachers: ema`), and the recipe says how it is averaged (`ema: {decay: 0.999}`)."
        )
    if terms and not recipe.teachers:
        raise UserError(
            f"recipe {recipe.name}: its loss {terms[0].name!r} learns from a teacher, and none is named. Name one or "
            "several training runs on the same data in the recipe, `teachers: [RUN]` (`reidlab runs list training` "
            f"lists them), or {EMA!r}, the moving average of the student's own weights."
        )


def lesson_of(model: Any, images: Tensor, *, logits: bool) -> Lesson:
    """Return what a model in eval mode says of a batch as it is: the lesson of `EMA`, which sees what its student does.

    Args:
        model: gives embeddings in eval mode.
        images: float32 [batch, 3, height, width], as for the student.
        logits: whether they are wanted too, the mean over classifiers; margins add none.
    """
    features = F.normalize(model(images).float(), dim=1)
    if not logits:
        return Lesson(features)
    with speaking(model):
        said = [each.float() for each in Output(*model(images)).logits]
    return Lesson(features, torch.stack(said).mean(0))


def check_student(recipe: Recipe, model: nn.Module) -> None:
    """Refuse a classifier with a margin under a loss that compares logits with a teacher's, which have none.

    The margin would stay in the difference: even a student that equals its teacher would be pulled away from it.

    Raises:
        UserError: naming the loss.
    """
    terms = [term for term in recipe.losses if term.learns_from_teacher and term.feature == "logits"]
    own = CosineClassifier._with_margin
    with_margin = [m for m in model.modules() if isinstance(m, CosineClassifier) and type(m)._with_margin is not own]
    if terms and with_margin:
        raise UserError(
            f"recipe {recipe.name}: loss {terms[0].name!r} compares logits with a teacher's, and the student's "
            f"classifier ({type(with_margin[0]).__name__}) adds a margin to them. Take classifier linear or "
            "cosine_linear, or learn from features by relational_kd."
        )


def make_teachers(
    recipe: Recipe,
    table: pd.DataFrame,
    pixels: PixelStore,
    task: Task,
    compute: ComputePlan,
    *,
    progress: bool = False,
) -> Teachers | None:
    """Ask a recipe's teachers about its training images; None where no loss learns from one that can be asked before.

    Args:
        recipe: its `teachers` and losses.
        table: image table, row i is image i of `pixels`.
        pixels: uint8 store at the student's size; a teacher of another size has one of its own in data/cache.
        task: labels and rows of the training.
        compute: where to compute, and in which precision.
        progress: show bars.

    Raises:
        UserError: as `check_teachers`; no such model; or losses on logits whose teacher has none, or those of other
            images or identities.
    """
    check_teachers(recipe)
    terms = [term for term in recipe.losses if term.learns_from_teacher]
    if not terms or EMA in recipe.teachers:
        return None
    wants_logits = any(term.feature == "logits" for term in terms)
    wants_features = any(term.feature != "logits" for term in terms)
    kinds = [kind for kind, wanted in zip(KINDS, (wants_features, wants_logits)) if wanted]
    teachers = [find_teacher(given) for given in recipe.teachers]
    if wants_logits:
        for teacher in teachers:
            teacher.check_classes(task)
    images = _Images(table, pixels, np.unique(task.units), compute, progress)
    said = _asked(teachers, kinds, images)
    features, logits = ([said[number, kind] for number in range(len(teachers)) if kind in kinds] for kind in KINDS)
    joined = F.normalize(torch.cat(features, dim=1), dim=1).to(compute.device) if features else None
    mean = torch.stack(logits).mean(0).to(compute.device) if logits else None
    return Teachers(images.rows, joined, mean, ", ".join(teacher.name for teacher in teachers))


def dim_of(teachers: Teachers | None, recipe: Recipe, model: Any) -> int:
    """Return the size of the features that a student learns from; 0 without a teacher."""
    return int(model.dim) if EMA in recipe.teachers else teachers.dim if teachers is not None else 0


def told_of(teachers: Teachers | None, recipe: Recipe) -> dict[str, str]:
    """Return who the teachers are, for a run's result; nothing without any."""
    if EMA in recipe.teachers:
        return {"teachers": "the moving average of its own weights"}
    return {} if teachers is None else {"teachers": teachers.note}


class _Images(NamedTuple):
    """The images of a training, as `make_teachers` is given them, and where to compute."""

    table: pd.DataFrame
    pixels: PixelStore
    rows: np.ndarray
    compute: ComputePlan
    progress: bool


def _asked(teachers: Sequence[Teacher], kinds: Sequence[str], images: _Images) -> dict[tuple[int, str], Tensor]:
    """Return what each teacher says of the training images, float32 [row, dim] for its number and the kind."""
    n, precision = len(images.rows), images.compute.precision
    files = {
        (number, kind): lesson_file(teacher, kind, images.table, images.rows, precision)
        for number, teacher in enumerate(teachers)
        for kind in kinds
    }
    kept = {key: kept_lessons(file, n) for key, file in files.items()}
    wanted = sorted({number for (number, _), said in kept.items() if said is None})
    with torch.random.fork_rng():  # building draws weights: a training must not depend on whether it asks or finds
        models = {number: teachers[number].load() for number in wanted}  # all before one of them looks at all images
    said: dict[tuple[int, str], Tensor] = {}
    for key, file in files.items():
        found = kept[key]
        try:
            said[key] = remember(file, n, partial(_ask, models[key[0]], key[1], images)) if found is None else found
        except UserError as error:
            raise UserError(f"teachers={teachers[key[0]].given!r}: {error}") from error
    return said


def _ask(model: Any, kind: str, images: _Images) -> Tensor:
    table, pixels, rows, compute, progress = images
    compute.place(model)
    size = model.preprocess.height, model.preprocess.width
    if pixels.size != size:
        pixels = PixelStore.build(table, data_root() / "cache" / "pixels", size=size, progress=progress)
    if kind == "logits":
        return class_logits(model, pixels, rows, compute, progress=progress)
    return torch.from_numpy(embed_rows(model, pixels, rows, compute, flip=True, progress=progress))
