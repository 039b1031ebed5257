"""Where a training begins: at random, or at the weights of a model that was trained before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from reidlab.errors import UserError
from reidlab.models.saved import WEIGHTS, read_config, saved_model
from reidlab.models.weights.load import load_state, read_weights
from reidlab.training.run import read_finished
from reidlab.training.task import Task

__all__ = ["begin_from", "same_identities"]


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
