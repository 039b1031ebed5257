"""Where a training begins: at random, or at the weights of a model that was trained before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.saved import WEIGHTS, read_config, saved_model
from reidlab.models.weights.load import check_exactly, load_state, read_weights
from reidlab.training.run import read_finished
from reidlab.training.task import Task

__all__ = ["begin_from", "begin_parts", "same_identities"]

# where a model has what `pre_<part>` of a recipe names
_PARTS = {
    "pre_backbone": ("backbone.",),
    "pre_autoencoder": ("autoencoder.", "decoder."),
    "pre_classifier": ("pair_head.",),
}


def same_identities(folder: Path, task: Task) -> bool | None:
    """Return whether a saved model was trained on exactly the images and identities of a task; None if unknown.

    Args:
        folder: of the model, beside which its training wrote what it was made from.
        task: the training data.
    """
    finished = read_finished(folder.parent)
    if finished is None:
        return None
    if "classes" not in finished[1]:  # trainings before did not write it
        return finished[1].get("data") == task.digest
    return finished[1]["classes"] == task.classes


def begin_from(model: Any, given: str, task: Task) -> str:
    """Copy the weights of a trained model into one that is to be trained on; say what was taken.

    The network has to be the same; size, losses and data may differ. Its classifiers are taken over where it was
    trained on the very same images and identities, else they begin at random. The images are normalised as for it.

    Args:
        model: changed in place.
        given: as `saved_model` takes it.
        task: the training data.

    Raises:
        UserError: no such model, or another network.
    """
    folder = saved_model(given)
    state = read_weights(folder / WEIGHTS)
    same = same_identities(folder, task)
    if not same:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("classifiers.")}
    try:
        config = read_config(folder)
        report = load_state(model, state, source=folder.parent.name if folder.name == "model" else folder.name)
    except UserError as error:
        raise UserError(f"start={given!r}: {error}") from error
    if config.preprocess is not None:
        model.preprocess = replace(model.preprocess, mean=config.preprocess.mean, std=config.preprocess.std)
    known = isinstance(getattr(model, "classifiers", None), nn.ModuleList) and len(model.classifiers) > 0
    return f"{report}{'' if same or not known else '. Classifiers begin at random: other images or identities'}"


def begin_parts(model: Any, given: Mapping[str, str]) -> str:
    """Copy parts of trained models into one that is to be trained; say what was taken.

    Args:
        model: changed in place. Images are normalised as for the backbone that is taken over.
        given: pre_backbone, pre_autoencoder or pre_classifier, each with what `saved_model` takes.

    Raises:
        UserError: no such model, one of the two has no such part, or its tensors are others.
    """
    own = model.state_dict()
    taken: dict[str, Tensor] = {}
    said = []
    for option, run in given.items():
        folder = saved_model(run, option)
        wanted = {name: tensor for name, tensor in own.items() if name.startswith(_PARTS[option])}
        if not wanted:
            raise UserError(f"{option}={run!r}: the model of this recipe has no {_named(option)}.")
        state = {name: t for name, t in read_weights(folder / WEIGHTS).items() if name.startswith(_PARTS[option])}
        if not state:
            raise UserError(f"{option}={run!r} has no {_named(option)}; a Siamese autoencoder has all three parts.")
        try:
            check_exactly(wanted, state, f"the {_named(option)} of {run}")
        except UserError as error:
            raise UserError(f"{option}={run!r}: {error}") from error
        taken |= state
        preprocess = read_config(folder).preprocess
        if option == "pre_backbone" and preprocess is not None:
            model.preprocess = replace(model.preprocess, mean=preprocess.mean, std=preprocess.std)
        where = folder.parent.name if folder.name == "model" else folder.name
        said.append(f"{_named(option)}: all {len(state)} tensors of {where}")
    with torch.no_grad():
        for name, tensor in taken.items():
            own[name].copy_(tensor)
    return "; ".join(said)


def _named(option: str) -> str:
    return {"pre_classifier": "pair head"}.get(option, option.removeprefix("pre_"))
