"""Saved models: a folder with model.safetensors and config.json, which is turned back into a model or refused."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reidlab import __version__
from reidlab.data.transforms import Preprocess
from reidlab.documents import read_json
from reidlab.errors import UserError, shown
from reidlab.models.backbones import WEIGHT_FILES
from reidlab.models.build import build, without_weights
from reidlab.models.graph_input import GRAPH_FILES
from reidlab.models.weights.load import check_exactly, file_digest, load_exactly, read_weights
from reidlab.models.weights.writing import check_room, save_weights, write_json, writing
from reidlab.paths import exists, find
from reidlab.registry import names_code
from reidlab.store.runs import Run, find_run
from reidlab.store.sources import texts_of

__all__ = [
    "CONFIG",
    "SHIPPED",
    "WEIGHTS",
    "SavedConfig",
    "load_model",
    "read_config",
    "save_model",
    "saved_digest",
    "saved_folder",
    "saved_model",
    "shipped_folder",
]

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
SHIPPED = ("small",)  # models that come with the package; each has a folder with its card in reidlab/models/shipped


@dataclass(frozen=True)
class SavedConfig:
    """What config.json says of a model.

    Attributes:
        spec: what it is built of, without pretrained weights.
        num_classes: identities of its classifiers; 0 for none.
        preprocess: how pixels become its input; None in files of before.
    """

    spec: str | dict[str, Any]
    num_classes: int
    preprocess: Preprocess | None


def save_model(model: nn.Module, folder: Path, config: Mapping[str, Any]) -> None:
    """Write model.safetensors and config.json (spec, num_classes and whatever else describes the model).

    The folder stands alone: pretrained weights are not asked for again, and the normalisation that came with them is
    written down.

    Raises:
        UserError: the folder cannot be written, or its disk has no room.
    """
    spec = config["spec"]
    spec = spec if isinstance(spec, str) else without_weights(spec)
    about = {**config, "spec": spec, "preprocess": asdict(model.preprocess)}  # type: ignore[call-overload]
    state = model.state_dict()
    check_room(folder, "The saved model", state)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(state, folder / WEIGHTS, {"format": "pt"})
        write_json(folder / CONFIG, {"reidlab": __version__, **about})


def saved_folder(path: Path) -> Path:
    """Find the folder of a saved model: the one given, or model/ in the folder of a training run.

    Raises:
        UserError: neither holds weights.
    """
    folder = path if (path / WEIGHTS).is_file() else path / "model"
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{path} holds no saved model (no {WEIGHTS}). Train one with notebook 03.")
    return folder


def shipped_folder(name: str) -> Path:
    """Return the folder of a model that comes with the package: weights, config.json, model card and recipe.

    Raises:
        UserError: no such model comes with it, or its weights are missing.
    """
    if name not in SHIPPED:
        raise UserError(f"no model {name!r} comes with reidlab; there are: {', '.join(SHIPPED)}.")
    folder = Path(__file__).parent / "shipped" / name
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"the weights of model {name!r} are missing from this installation ({folder}): reinstall it.")
    return folder


def saved_model(given: str, what: str = "start") -> Path:
    """Find the folder of a saved model: a shipped model's name, a training run's name or digest, or a folder.

    Args:
        given: what names it.
        what: the parameter that it was given for, which messages name.

    Raises:
        UserError: there is none.
    """
    if given.strip() in SHIPPED:
        return shipped_folder(given.strip())
    path = find(given)
    folder = exists(path) and path.is_dir()
    if path.suffix in WEIGHT_FILES and not folder:
        raise UserError(
            f"{what}={given!r} is a file of weights; name a training run or the folder of a saved model. Published "
            "weights are the `weights` of a recipe's model."
        )
    if path.suffix in GRAPH_FILES and not folder:
        raise UserError(
            f"{what}={given!r} is the file of a network that cannot be trained: it can teach (`teachers` of a recipe) "
            "and be scored (`model` of notebook 04)."
        )
    if not folder:
        path = _training_folder(find_run(given), f"{what}={given!r}")
    try:
        return saved_folder(path)
    except UserError as error:
        raise UserError(f"{what}={given!r}: {error}") from error


def _training_folder(run: Run, what: str) -> Path:
    if run.stage != "training":
        raise UserError(f"{what} is a run of stage {run.stage!r}; a model comes from a training run.")
    return run.path


def saved_digest(folder: Path) -> str:
    """Return the digest of all that a saved model's embeddings depend on: weights, spec and preprocessing.

    Raises:
        UserError: as `read_config`.
    """
    config = read_config(folder)
    how = json.dumps([config.spec, config.preprocess and asdict(config.preprocess)], sort_keys=True)
    return hashlib.sha256(f"{file_digest(folder / WEIGHTS)}:{how}".encode()).hexdigest()


def read_config(folder: Path) -> SavedConfig:
    """Read config.json of a saved model.

    Raises:
        UserError: it is missing, no JSON, too large, or what it says describes no model.
    """
    try:
        config = read_json(folder / CONFIG, CONFIG)
    except UserError as error:
        raise UserError(f"{folder} holds no saved model ({error}). Train one with notebook 03.") from error
    missing = [name for name in ("spec", "num_classes") if not isinstance(config, dict) or name not in config]
    if missing:
        raise UserError(f"{folder} holds no saved model (no {missing[0]!r} in {CONFIG}). Train one with notebook 03.")
    spec, num_classes = config["spec"], config["num_classes"]
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 0:
        raise _no_model(folder, f"num_classes={num_classes!r} is no whole number of 0 or more")
    if not isinstance(spec, (str, dict)):
        raise _no_model(folder, f"spec={spec!r} is neither a name nor a mapping")
    foreign = sorted(name for name in texts_of(spec) if names_code(name) and not _is_loaded_module(name))
    if foreign:
        remedy = f"import {foreign[0].partition(':')[0]} first if you trust it"
        raise _no_model(folder, f"it names code that is not loaded, {foreign[0]!r}; {remedy}")
    spec = spec if isinstance(spec, str) else without_weights(spec)
    preprocess = _preprocess(folder, config["preprocess"]) if "preprocess" in config else None
    return SavedConfig(spec, num_classes, preprocess)


def _is_loaded_module(name: str) -> bool:
    """Return whether "module:attribute" is a network's class that somebody here has imported.

    A file from elsewhere must not choose what is imported and called.
    """
    module, _, attribute = name.partition(":")
    found = getattr(sys.modules.get(module), attribute, None)
    return isinstance(found, type) and issubclass(found, nn.Module)


def load_model(given: str | os.PathLike[str] | Run) -> nn.Module:
    """Build a saved model in eval mode, every tensor of it from the file.

    Args:
        given: "small", the model that comes with the package; a training run's name or the beginning of its digest
            (as text), its `Run`, its folder; or the folder that `save_model` wrote.

    Raises:
        UserError: nothing is there, the folder is no saved model, or its weights do not fit its config.
    """
    folder = _folder_of(given)
    config = read_config(folder)
    try:
        state = read_weights(folder / WEIGHTS)
    except UserError as error:
        raise UserError(f"{folder} holds no saved model ({error}). Train one with notebook 03.") from error
    model = _built(folder, config, state)
    load_exactly(model, state, str(folder))
    if config.preprocess is not None:
        model.preprocess = config.preprocess  # type: ignore[assignment]
    return model.eval()


def _folder_of(given: str | os.PathLike[str] | Run) -> Path:
    """Return the folder with the files of a model; a path that is named is taken as it stands."""
    if isinstance(given, Run):
        return saved_folder(_training_folder(given, f"model {given.path.name!r}"))
    if isinstance(given, str):
        return saved_model(given, "model")
    if not isinstance(given, os.PathLike):
        raise UserError(f"a model is named by a run, its name or a folder, not by {shown(given)}.")
    folder = Path(given)
    return folder / "model" if (folder / "model" / WEIGHTS).is_file() else folder


def _built(folder: Path, config: SavedConfig, state: Mapping[str, Tensor]) -> nn.Module:
    """Build the model of a config; first without memory, so that it cannot ask for more than its weights have."""
    try:
        with torch.device("meta"):
            try:
                own = build(config.spec, config.num_classes).state_dict()
            except (NotImplementedError, RuntimeError):  # a network that looks at numbers while it is built
                own = None
        if own is not None:
            check_exactly(own, state, str(folder))
        return build(config.spec, config.num_classes)
    except UserError as error:
        if str(folder) in str(error):
            raise
        raise _no_model(folder, str(error)) from error
    except Exception as error:  # values that no model expects, in parts of many libraries
        raise _no_model(folder, f"{type(error).__name__}: {str(error)[:200]}") from error


def _preprocess(folder: Path, saved: Any) -> Preprocess:
    known = [field.name for field in fields(Preprocess)]
    if not isinstance(saved, dict) or any(name not in known for name in saved):
        raise _no_model(folder, f"preprocess={str(saved)[:200]} is no mapping of {', '.join(known)}")
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    try:
        return Preprocess(**given)
    except UserError as error:
        raise _no_model(folder, f"preprocess: {error}") from error


def _no_model(folder: Path, reason: str) -> UserError:
    return UserError(f"{folder}: {CONFIG} describes no model that can be built ({reason}).")
