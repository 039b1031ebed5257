"""What losses and classifiers want to know of data and model, so that recipes need not say it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from reidlab.losses import LOSSES
from reidlab.models import Output
from reidlab.models.parts.margins import AdaptiveArcFaceClassifier
from reidlab.training.recipes import LossTerm

__all__ = ["complete_terms", "give_class_counts"]


def complete_terms(
    terms: tuple[LossTerm, ...], model: nn.Module, num_classes: int, teacher_dim: int = 0
) -> tuple[LossTerm, ...]:
    """Fill in `num_classes`, `dim`, `teacher_dim` of losses that take them (center, feature_kd) and lack them.

    Args:
        terms: a recipe's losses.
        model: as built; a copy of it shows the size of its features, which is left out where no loss needs it.
        num_classes: training identities.
        teacher_dim: of the teachers' features; 0 where nobody teaches.
    """
    wanted = [_options(term) for term in terms]
    if not any(wanted):
        return terms
    output = _example(model)
    known = [{"num_classes": num_classes, "dim": _dim(term, output), "teacher_dim": teacher_dim} for term in terms]
    return tuple(
        term.model_copy(update={"options": {**{name: about[name] for name in names}, **term.options}})
        for term, names, about in zip(terms, wanted, known)
    )


def _options(term: LossTerm) -> set[str]:
    """Return the options to be filled in; whoever builds the losses reports an unknown one."""
    if term.name not in LOSSES:
        return set()
    return ({"num_classes", "dim", "teacher_dim"} & set(LOSSES.options(term.name))) - set(term.options)


def _example(model: nn.Module) -> Output:
    """Return the training output for two black images; neither the model nor any generator changes."""
    preprocess: Any = model.preprocess
    with torch.random.fork_rng(), torch.no_grad():
        return Output(*copy.deepcopy(model).train()(torch.zeros(2, 3, preprocess.height, preprocess.width)))


def _dim(term: LossTerm, output: Output) -> int:
    branches = output.branches or {}
    source = next((branches[name] for name in term.branch if name in branches), output)
    feature = output.before if term.feature == "triplets" else getattr(source, term.feature)
    feature = feature[0] if isinstance(feature, tuple) else feature
    return int(feature.shape[-1]) if feature is not None else 0


def give_class_counts(model: nn.Module, labels: np.ndarray) -> None:
    """Tell classifiers with a margin for each identity (arcface_adaptive) how many training images each has.

    Args:
        model: as built, with classifiers for all identities.
        labels: identity of every image, 0..class-1, -1 outside training.
    """
    wanting = [module for module in model.modules() if isinstance(module, AdaptiveArcFaceClassifier)]
    if wanting:
        counts = torch.from_numpy(np.bincount(labels[labels >= 0]))
        for classifier in wanting:
            if classifier.margins.isnan().any():  # class_counts in the recipe stay
                classifier.set_class_counts(counts)
