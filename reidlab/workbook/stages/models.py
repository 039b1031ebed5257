"""Where a notebook's model comes from: a training run, a folder with a saved model, or a published weights file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from reidlab.errors import UserError
from reidlab.models import build
from reidlab.models.published import load_custom_cnn_v32
from reidlab.paths import find
from reidlab.runs import Run, find_run
from reidlab.training.checkpoints import load_model

__all__ = ["ModelSource", "model_from", "model_from_run"]


@dataclass(frozen=True)
class ModelSource:
    """A model that can be loaded.

    Attributes:
        label: short name for folders and tables.
        digest: of the weights' origin.
        load: builds the model in eval mode.
        facts: what is known of its training (recipe, epochs, minutes, ...), for tables of results.
        notes: what a reader must know.
    """

    label: str
    digest: str
    load: Callable[[], nn.Module]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


def model_from_run(run: Run) -> ModelSource:
    """Take the model of a training run."""
    if run.stage != "training":
        raise UserError(f"run {run.path.name} is of stage {run.stage!r}; a model comes from a training run.")
    trained = {"trained_on": run.params.get("dataset", ""), "seed": run.params.get("seed"), **run.result}
    manifest = {key: run.manifest.get(key) for key in ("git", "machine", "seconds")}
    return ModelSource(run.path.name, run.digest, lambda: load_model(run.path / "model"), trained | manifest)


def model_from(given: str) -> ModelSource:
    """Find a model by what a user gives: a run's name or digest, a saved model's folder, or a weights file.

    Raises:
        UserError: nothing is there, or a file that is not understood.
    """
    if not given.strip():
        raise UserError("No model is named: give a training run's name, the folder of a saved model or a .pth file.")
    path = find(given)
    if path.suffix in (".pth", ".pt"):
        return _published(path)
    if path.is_dir():
        folder = path if (path / "config.json").is_file() else path / "model"
        digest = _file_digest(folder / "model.safetensors")
        return ModelSource(path.name, digest, lambda: load_model(folder), {"recipe": path.name})
    return model_from_run(find_run(given))


def _published(path: Path) -> ModelSource:
    digest = _file_digest(path)
    report = load_custom_cnn_v32(build("custom_cnn_v32"), path)

    def load() -> nn.Module:
        model = build("custom_cnn_v32")
        load_custom_cnn_v32(model, path)
        return model.eval()

    facts = {"recipe": f"published {path.name}", "epochs": None, "minutes": None, "seed": None}
    return ModelSource(path.stem, digest, load, facts, (str(report),))


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"no model at {path} ({error.strerror}). Train one with notebook 03.") from error
