"""Where a notebook's model comes from: the package, a training run, a saved model's folder, or published weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidlab.documents import read_json
from reidlab.errors import UserError
from reidlab.paths import exists, find
from reidlab.registry import MODELS
from reidlab.store.origins import training_origins
from reidlab.store.runs import Run, find_run

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CALIBRATION", "ModelSource", "model_from", "model_from_run"]

CALIBRATION = "calibration.json"  # beside a model: what its cosines mean (`reidlab.retrieval.Calibration`)
# what the config of a shipped model says of its training
_FACTS = ("recipe", "trained_on", "epochs", "best_epoch", "best_val_map", "minutes", "seed", "git", "machine")


@dataclass(frozen=True)
class ModelSource:
    """A model that can be loaded.

    Attributes:
        label: short name for folders and tables.
        digest: of the weights' origin.
        load: builds the model in eval mode.
        facts: what is known of its training (recipe, epochs, minutes, ...), for tables of results.
        notes: what a reader must know.
        elsewhere: it was not trained on a split of this workbook, so that no identity has to be held out for its score.
        calibration: the file of its calibration, where one comes with it.
    """

    label: str
    digest: str
    load: Callable[[], nn.Module]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    elsewhere: bool = False
    calibration: Path | None = None


def model_from_run(run: Run) -> ModelSource:
    """Take the model of a training run."""
    if run.stage != "training":
        raise UserError(f"run {run.path.name} is of stage {run.stage!r}; a model comes from a training run.")
    trained = {"trained_on": run.params.get("dataset", ""), "seed": run.params.get("seed"), **run.result}
    manifest = {key: run.manifest.get(key) for key in ("git", "machine", "seconds")}
    notes = training_origins(run.result)

    def load() -> nn.Module:
        from reidlab.models.saved import load_model  # torch is imported where a model is

        return load_model(run.path / "model")

    return ModelSource(run.path.name, run.digest, load, trained | manifest, notes)


def model_from(given: str) -> ModelSource:
    """Find a model by what a user gives.

    Args:
        given: "small", which comes with the package; a training run's name or digest; the folder of a saved model;
            NAME:FILE with the name of a registered model (or of a network of timm) and the file of its published
            weights; `reid_model_3.2.pth` alone, which is the custom CNN's; or a file of ONNX or OpenVINO (.onnx, .xml).

    Raises:
        UserError: nothing is there, or a file that is not understood.
    """
    if not given.strip():
        raise UserError(
            "No model is named: give small, a training run's name, the folder of a saved model, a file of ONNX or "
            "OpenVINO, or NAME:FILE with the name of a model and its published weights."
        )
    from reidlab.models.backbones import WEIGHT_FILES
    from reidlab.models.graph_files import is_graph_file
    from reidlab.models.saved import SHIPPED, load_model, saved_digest, saved_folder

    if given.strip() in SHIPPED:
        return _shipped(given.strip())
    path = find(given)
    name, colon, file = given.partition(":")
    if colon and not exists(path) and Path(file).suffix in WEIGHT_FILES:
        return _published(name.strip(), find(file.strip()))
    if path.suffix in WEIGHT_FILES:
        return _published("custom_cnn_v32", path)
    if is_graph_file(given):
        return _graph(path)
    if exists(path) and path.is_dir():
        folder = saved_folder(path)
        digest = saved_digest(folder)
        name = path.parent.name if path.name == "model" else path.name
        load = _unchanged(digest, saved_digest, folder, load_model)
        return ModelSource(name, digest, load, {"recipe": name}, calibration=_calibration(folder))
    return model_from_run(find_run(given))


def _shipped(name: str) -> ModelSource:
    """Take a model that comes with the package; its config.json says how it was trained."""
    from reidlab.models.saved import CONFIG, load_model, saved_digest, shipped_folder

    folder = shipped_folder(name)
    facts = read_json(folder / CONFIG, CONFIG)
    facts = {key: facts[key] for key in _FACTS if key in facts}
    note = f"Model {name} was trained on {facts['trained_on']}: scores on these say nothing about other cameras."
    load = partial(load_model, folder)
    calibration = _calibration(folder)
    return ModelSource(name, saved_digest(folder), load, facts, (note,), elsewhere=True, calibration=calibration)


def _calibration(folder: Path) -> Path | None:
    return folder / CALIBRATION if (folder / CALIBRATION).is_file() else None


def _published(name: str, path: Path) -> ModelSource:
    """Take weights that somebody else trained; what was loaded and what was not stands in the notes."""
    from reidlab.models.weights.load import file_digest
    from reidlab.models.weights.published import load_published

    MODELS.find(name)
    if not (exists(path) and path.is_file()):
        raise UserError(f"there is no file of weights {path}, neither here nor in the workbook's folder.")
    published = load_published(name, path)
    digest = file_digest(path)
    custom = name == "custom_cnn_v32"
    facts = {"recipe": f"published {path.name}", "epochs": None, "minutes": None, "seed": None}
    built = name if published.spec == {"name": name} else json.dumps(published.spec, sort_keys=True)

    return ModelSource(
        path.stem if custom else f"{name}-{path.stem}",
        digest if custom else hashlib.sha256(f"{built}:{digest}".encode()).hexdigest(),
        _unchanged(digest, file_digest, path, lambda file: load_published(name, file).model),
        facts,
        (str(published.report),),
        elsewhere=True,
    )


def _graph(path: Path) -> ModelSource:
    """Take a network as ONNX or OpenVINO have it; its file, or one beside it, says what its input is."""
    from reidlab.models.graph_files import graph_digest, load_graph

    model = load_graph(path)  # refused now, where it cannot be read
    digest = graph_digest(path)
    facts = {"recipe": f"file {path.name}", "epochs": None, "minutes": None, "seed": None}
    load = _unchanged(digest, graph_digest, path, load_graph)
    return ModelSource(path.stem, digest, load, facts, (model.told,), elsewhere=True)


def _unchanged(
    digest: str, digest_of: Callable[[Path], str], path: Path, load: Callable[[Path], nn.Module]
) -> Callable[[], nn.Module]:
    """Return what loads a model, and refuses another one than had the digest: results are kept under it."""

    def loaded() -> nn.Module:
        if digest_of(path) != digest:
            raise UserError(f"{path} has changed since it was looked at; run the cell that names it again.")
        return load(path)

    return loaded
