"""Knowledge distillation: what trained models say of the training images, for the losses that learn from a teacher.

The teachers look once, before the training, at every image as it is and mirrored; the student then sees augmented
images and learns to say the same (the clean teacher and noised student of Xie et al. 2020, "Self-training with Noisy
Student"). The lessons fit in memory, so that a teacher of any size costs nothing in a step. Several teachers are
averaged (an ensemble distilled into one model: Hinton, Vinyals, Dean 2015); their logits as they are, so that scaled
cosines weigh more than the logits of a linear classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
from reidlab.models.saved import load_model, saved_digest, saved_model
from reidlab.paths import data_root
from reidlab.training.recipes import Recipe
from reidlab.training.start import same_identities
from reidlab.training.task import Task

__all__ = [
    "Lesson",
    "Teachers",
    "check_student",
    "check_teachers",
    "class_logits",
    "make_teachers",
    "teacher_digests",
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
            "or relational_kd on a feature (`reidlab losses`)."
        )
    if terms and not recipe.teachers:
        raise UserError(
            f"recipe {recipe.name}: its loss {terms[0].name!r} learns from a teacher, and none is named. Name one or "
            "several training runs on the same data in the recipe, `teachers: [RUN]` (`reidlab runs list training` "
            "lists them)."
        )


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
    """Ask a recipe's teachers about its training images; None where no loss learns from a teacher.

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
    if not terms:
        return None
    wants_logits = any(term.feature == "logits" for term in terms)
    wants_features = any(term.feature != "logits" for term in terms)
    rows = np.unique(task.units)
    loaded = []
    for given in recipe.teachers:  # all before the first of them looks at all images
        folder = saved_model(given, "teachers")
        try:
            model: Any = load_model(folder)
        except UserError as error:
            raise UserError(f"teachers={given!r}: {error}") from error
        if wants_logits:
            _check_logits(given, model, folder, task)
        loaded.append((given, folder, model))
    features, logits, notes = [], [], []
    for given, folder, model in loaded:
        compute.place(model)
        preprocess = model.preprocess
        size = preprocess.height, preprocess.width
        own = pixels if pixels.size == size else _store(table, size, progress)
        try:
            if wants_features:
                features.append(torch.from_numpy(embed_rows(model, own, rows, compute, flip=True, progress=progress)))
            if wants_logits:
                logits.append(class_logits(model, own, rows, compute, progress=progress))
        except UserError as error:
            raise UserError(f"teachers={given!r}: {error}") from error
        notes.append(folder.parent.name if folder.name == "model" else folder.name)
    joined = F.normalize(torch.cat(features, dim=1), dim=1).to(compute.device) if features else None
    mean = torch.stack(logits).mean(0).to(compute.device) if logits else None
    return Teachers(rows, joined, mean, ", ".join(notes))


def teacher_digests(given: Sequence[str]) -> list[str]:
    """Return the digests of the teachers' weights, so that other teachers under the same names make another run."""
    return [saved_digest(saved_model(name, "teachers")) for name in given]


def class_logits(
    model: Any, pixels: PixelStore, rows: np.ndarray, compute: ComputePlan, *, progress: bool = False
) -> Tensor:
    """Return the logits of a trained model's classifiers, float32 [row, class] on the CPU.

    The mean over its classifiers, and over each image and its mirror; layers are in eval mode, classifiers with a
    margin add none.

    Args:
        model: with classifiers.
        pixels: uint8 images.
        rows: row numbers of the store.
        compute: device and precision.
        progress: show a bar.

    Raises:
        UserError: the model gives NaN or infinite values.
    """
    return torch.from_numpy(embed_rows(_Classifying(model).eval(), pixels, rows, compute, progress=progress))


class _Classifying(nn.Module):
    """Gives a model's mean logits [batch, class] where the model itself gives embeddings."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.preprocess = model, model.preprocess

    def forward(self, images: Tensor) -> Tensor:
        self.model.training = True  # of the model alone, which then gives an Output; its layers stay in eval mode
        try:
            logits = [each.float() for view in (images, images.flip(3)) for each in Output(*self.model(view)).logits]
        finally:
            self.model.training = False
        return torch.stack(logits).mean(0)


def _check_logits(given: str, model: Any, folder: Path, task: Task) -> None:
    """Refuse a teacher without logits, or with those of other classes than the student's."""
    if not len(getattr(model, "classifiers", ())):
        raise UserError(f"teachers={given!r} has no classifier, hence no logits; relational_kd learns from features.")
    same = same_identities(folder, task)
    if not same:
        what = "was trained on is not known" if same is None else "was trained on are others"
        raise UserError(
            f"teachers={given!r}: the images and identities that it {what}, so its logits may mean other people. Train "
            "it with notebook 03 on this data (same dataset, seed, split and val_share), or learn from its features by "
            "relational_kd."
        )


def _store(table: pd.DataFrame, size: tuple[int, int], progress: bool) -> PixelStore:
    return PixelStore.build(table, data_root() / "cache" / "pixels", size=size, progress=progress)
