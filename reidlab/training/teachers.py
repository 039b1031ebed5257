"""Whom a student learns from: training runs, saved models, files of ONNX or OpenVINO; and what each says of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reidlab.data.pixels import PixelStore
from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.models import Output
from reidlab.models.graph_files import graph_digest, is_graph_file, load_graph
from reidlab.models.inference import embed_rows
from reidlab.models.saved import load_model, read_config, saved_digest, saved_model
from reidlab.training.start import same_identities
from reidlab.training.task import Task

__all__ = ["EMA", "Teacher", "class_logits", "find_teacher", "speaking", "teacher_digests"]

EMA = "ema"  # the teacher that is the moving average of the student's own weights: nobody to be found
_SILENT = "has no classifier, hence no logits; relational_kd learns from features."


@dataclass(frozen=True)
class Teacher:
    """A trained model that a recipe names.

    Attributes:
        given: what the recipe says.
        name: for manifests.
        digest: of all that its embeddings depend on.
        folder: of a saved model; None for a file of ONNX or OpenVINO.
        built_of: spec of a saved model, whose names choose code.
    """

    given: str
    name: str
    digest: str
    folder: Path | None
    built_of: Any = None

    def load(self) -> nn.Module:
        """Load the model in eval mode.

        Raises:
            UserError: it is damaged, does not fit its config, or takes a package that is missing.
        """
        try:
            return load_graph(self.given) if self.folder is None else load_model(self.folder)
        except UserError as error:
            raise UserError(f"teachers={self.given!r}: {error}") from error

    def check_classes(self, task: Task) -> None:
        """Refuse a teacher without logits, or with those of other classes than the student's.

        Raises:
            UserError: saying what to do instead.
        """
        if self.folder is None or not read_config(self.folder).num_classes:
            raise UserError(f"teachers={self.given!r} {_SILENT}")
        same = same_identities(self.folder, task)
        if not same:
            what = "was trained on is not known" if same is None else "was trained on are others"
            raise UserError(
                f"teachers={self.given!r}: the images and identities that it {what}, so its logits may mean other "
                "people. Train it with notebook 03 on this data (same dataset, seed, split and val_share), or learn "
                "from its features by relational_kd."
            )


def find_teacher(given: str) -> Teacher:
    """Find a teacher by a shipped model's name, a run's name or digest, a model's folder, or a file (.onnx, .xml).

    Raises:
        UserError: there is none.
    """
    if is_graph_file(given):
        try:
            return Teacher(given, Path(given.strip()).name, graph_digest(given.strip()), None)
        except UserError as error:
            raise UserError(f"teachers={given!r}: {error}") from error
    folder = saved_model(given, "teachers")
    name = folder.parent.name if folder.name == "model" else folder.name
    return Teacher(given, name, saved_digest(folder), folder, read_config(folder).spec)


def teacher_digests(given: Sequence[str]) -> list[str]:
    """Return the digests of the teachers' weights, so that other teachers under the same names make another run."""
    return [find_teacher(name).digest for name in given if name != EMA]


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
        UserError: the model has no classifiers, or gives NaN or infinite values.
    """
    if not len(getattr(model, "classifiers", ())):
        raise UserError(f"this {type(model).__name__} {_SILENT}")
    return torch.from_numpy(embed_rows(_Classifying(model).eval(), pixels, rows, compute, progress=progress))


class _Classifying(nn.Module):
    """Gives a model's mean logits [batch, class] where the model itself gives embeddings."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.preprocess = model, model.preprocess

    def forward(self, images: Tensor) -> Tensor:
        with speaking(self.model):
            logits = [each.float() for view in (images, images.flip(3)) for each in Output(*self.model(view)).logits]
        return torch.stack(logits).mean(0)


@contextmanager
def speaking(model: nn.Module) -> Iterator[None]:
    """Let a model in eval mode give an `Output`; its layers stay in eval mode."""
    model.training = True
    try:
        yield
    finally:
        model.training = False
