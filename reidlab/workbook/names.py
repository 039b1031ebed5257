"""What a notebook's parameters name - a recipe, a data set, a model, trackers - looked up before a kernel starts.

And which of several notebooks takes which parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from reidlab.errors import UserError, nearest, shown
from reidlab.params import CrossDomain, NotebookParams, Retrieval, Robustness
from reidlab.paths import find

__all__ = ["check_names", "shares"]


def check_names(params: NotebookParams, given: Collection[str]) -> None:
    """Refuse names of things that do not exist, before a kernel starts or an earlier result is replaced.

    Args:
        params: the parameters of a notebook.
        given: those that were given; defaults are not looked up.

    Raises:
        UserError: naming the parameter, and what there is.
    """
    for name, check in _CHECKS.items():
        value = getattr(params, name, None) if name in given else None
        if value:
            try:
                check(value)
            except UserError as error:
                said = str(error)
                raise UserError(said if said.startswith(name) else f"{name}: {said}") from error
    if "recipe" in given and getattr(params, "recipe", None):
        _weights(params)
    if "models" in given and isinstance(params, (CrossDomain, Robustness)):
        for value in params.models:
            _one_of_models(value)


def shares(given: Mapping[str, Any], models: Sequence[type[NotebookParams]]) -> list[dict[str, Any]]:
    """Return for each notebook's parameter model those of the given parameters that it knows.

    Raises:
        UserError: several notebooks, and a name that none of them knows. (A single one refuses its names itself.)
    """
    if len(models) == 1:
        return [dict(given)]
    known = list(dict.fromkeys(name for model in models for name in model.model_fields))
    strange = [name for name in given if name not in known]
    if strange:
        said = [f"{name}={shown(given[name])}: no such parameter.{nearest(name, known)}" for name in strange]
        which = ", ".join(dict.fromkeys(model.notebook for model in models))
        raise UserError("\n  ".join([f"None of {which} knows:", *said]))
    return [{name: value for name, value in given.items() if name in model.model_fields} for model in models]


def _weights(params: NotebookParams) -> None:
    """Refuse a recipe whose weights cannot be had; weights that have to be downloaded are downloaded."""
    from reidlab.training.recipes import load_recipe

    recipe = load_recipe(getattr(params, "recipe"))  # noqa: B009 (which parameters have one is not known to mypy)
    weights = recipe.model.get("weights")
    if not weights or recipe.start or getattr(params, "start", "") or not _trains(params, recipe.name):
        return
    if not find(weights).is_file():
        from reidlab.models import build

        try:
            build(recipe.model)
        except UserError as error:
            raise UserError(f"recipe {recipe.name}: {error}") from error


def _trains(params: NotebookParams, recipe: str) -> bool:
    """Return whether a notebook may train this recipe: 03 does, and 04 where no training of it is there."""
    if not isinstance(params, Retrieval):
        return True
    from reidlab.store.runs import list_runs

    known = [run.params for run in list_runs("training") if not run.problem]
    there = any(one["dataset"] == params.dataset and one["recipe"]["name"] == recipe for one in known)
    return not params.model and not there


def _dataset(value: str) -> None:
    from reidlab.registry import DATASETS

    DATASETS.find(value)


def _root(value: str) -> None:
    if not find(value).exists():
        raise UserError(f"root={value!r}: there is no such folder or file, neither here nor in the workbook's folder.")


def _recipe(value: str) -> None:
    from reidlab.training.recipes import load_recipe

    for given in load_recipe(value).teachers:
        from reidlab.training.teachers import EMA, find_teacher

        if given == EMA:
            continue
        teacher = find_teacher(given)
        if teacher.folder is None:  # a file of another program: does it open, and is it said what it takes?
            teacher.load()


def _model(value: str) -> None:
    from reidlab.stages.chosen import LATEST
    from reidlab.stages.models import model_from
    from reidlab.store.runs import list_runs

    if value.strip() != LATEST:
        model_from(value)
    elif all(run.problem for run in list_runs("training")):
        raise UserError(f"model={LATEST!r}: nothing was trained yet; `reidlab run 03` trains a model.")


def _one_of_models(value: str) -> None:
    from reidlab.stages.histogram import HISTOGRAM

    if value.strip() != HISTOGRAM:
        try:
            _model(value)
        except UserError as error:
            raise UserError(f"models: {error}") from error


def _corruptions(value: list[str]) -> None:
    from reidlab.registry import CORRUPTIONS

    for name in value:
        CORRUPTIONS.find(name)


def _tests(value: list[str]) -> None:
    from reidlab.stages.domains import domain_of

    for given in value:
        domain_of(given)


def _start(value: str) -> None:
    from reidlab.models.saved import saved_model

    saved_model(value)


def _tracking(value: list[str]) -> None:
    from reidlab.training.tracking import check_tracking

    check_tracking(value)


def _device(value: str) -> None:
    if value not in ("auto", "cpu"):  # these are everywhere, and torch need not be loaded to say so
        from reidlab.devices import check_device

        check_device(value)


_CHECKS: dict[str, Callable[[Any], None]] = {
    "dataset": _dataset,
    "root": _root,
    "recipe": _recipe,
    "model": _model,
    "start": _start,
    "tracking": _tracking,
    "device": _device,
    "corruptions": _corruptions,
    "tests": _tests,
}
