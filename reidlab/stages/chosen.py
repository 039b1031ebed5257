"""Which model notebook 04 evaluates: the one that is named, the newest training of the data set, or one trained now."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reidlab.data.triplets import Triplets
from reidlab.errors import UserError, shown
from reidlab.params import DataParams, Retrieval, Training
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import ModelSource, model_from, model_from_run
from reidlab.stages.training import training_stage
from reidlab.stages.triplets import triplet_stage, triplets_from
from reidlab.store.runs import Run, is_current, list_runs
from reidlab.training.recipes import Recipe, load_recipe

__all__ = ["LATEST", "Choice", "choose_model", "evaluation_line", "given_triplets", "named_model"]

LATEST = "latest"
_MOST = 4  # differences that are written out


@dataclass(frozen=True)
class Choice:
    """The model that is going to be evaluated.

    Attributes:
        said: what a reader must know before it is loaded or trained.
        source: gives the model; trains it first where `said` says so.
    """

    said: tuple[str, ...]
    source: Callable[[], ModelSource]


def choose_model(data: DataRun, p: Retrieval) -> Choice:
    """Choose the model of notebook 04, without training anything yet.

    With `model` that one; else the newest training of this data by the recipe, with the epochs where they are given;
    else the recipe is trained when `Choice.source` is called.
    """
    if p.model:
        source = named_model(data, p.model)
        return Choice((f"Model: {source.label}",), lambda: source)
    recipe = load_recipe(p.recipe, epochs=p.epochs)
    trained = trainings_of(data)
    by_recipe = [run for run in trained if run.params["recipe"]["name"] == recipe.name]
    fits = [run for run in by_recipe if p.epochs is None or run.params["recipe"]["epochs"] == p.epochs]
    if fits:
        newest = fits[-1]
        said = [f"Model: {newest.path.name}, the newest training of this data by recipe {recipe.name}."]
        said += [*_differences_said(newest, recipe, p.seed), *_newer_said(newest, trained)]
        return Choice(tuple(said), lambda: model_from_run(newest))
    epochs = f" with {p.epochs} epochs" if by_recipe and p.epochs else ""
    said = [f"There is no training of this data by recipe {recipe.name}{epochs}: it is trained now."]
    if trained:
        said.append(f"To evaluate {trained[-1].path.name} instead, the newest training of it: model = {LATEST!r}.")
    return Choice(tuple(said), lambda: _train(data, recipe, p))


def named_model(data: DataRun, given: str) -> ModelSource:
    """Find a model as `model_from` does; "latest" is the newest training of the data set.

    Raises:
        UserError: as `model_from`, or there is no training of this data yet.
    """
    if given.strip() != LATEST:
        return model_from(given)
    runs = trainings_of(data)
    if not runs:
        name = data.run.params["dataset"]
        raise UserError(
            f"model={LATEST!r}: there is no training of {name} with this split, seed and val_share. Train one with "
            "notebook 03, or name another: `reidlab runs list training`."
        )
    return model_from_run(runs[-1])


def trainings_of(data: DataRun) -> list[Run]:
    """List the whole trainings of exactly this data (its images and its split), the newest last."""
    return [run for run in list_runs("training") if not run.problem and data.digest in run.manifest["inputs"]]


def evaluation_line(run: Run, p: Training) -> str:
    """Return the command that evaluates a training: notebook 04 with the run's name and the same data."""
    same = [name for name in (*DataParams.model_fields, "device") if name in p.changed()]
    words = ["-p", "model", run.path.name]
    for name in same:
        words += ["-p", name, str(getattr(p, name))]
    return shlex.join(["reidlab", "run", "04", *words])


def given_triplets(data: DataRun, recipe: Recipe, seed: int, given: str = "") -> Triplets | None:
    """Return the triplets of a run of notebook 02, or those that it draws by default; None where none are needed."""
    if not any(term.feature == "triplets" for term in recipe.losses):
        if given:
            raise UserError(f"triplets={given!r}: recipe {recipe.name} does not train on given triplets.")
        return None
    return triplets_from(data, given) if given else triplet_stage(data, seed=seed)[1]


def _train(data: DataRun, recipe: Recipe, p: Retrieval) -> ModelSource:
    triplets = given_triplets(data, recipe, p.seed)
    return model_from_run(training_stage(data, recipe, seed=p.seed, device=p.device, triplets=triplets))


def _differences_said(run: Run, recipe: Recipe, seed: int) -> list[str]:
    """Say in what a training differs from the recipe as it is now, and whether its code does."""
    found = list(_differences(run.params["recipe"], recipe.experiment()))
    if run.params["seed"] != seed:
        found.append(f"seed {run.params['seed']} instead of {seed}")
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    said = [f"It differs from recipe {recipe.name}: {', '.join(found[:_MOST])}{more}."] if found else []
    if not is_current(run):
        said.append("The code that trained it has changed since; notebook 03 trains it anew.")
    return said


def _newer_said(chosen: Run, trained: list[Run]) -> list[str]:
    newest = trained[-1]
    if newest.path == chosen.path:
        return []
    what = f"{newest.path.name} (recipe {newest.params['recipe']['name']}, {newest.params['recipe']['epochs']} epochs)"
    return [f"A newer training of this data is {what}: model = {LATEST!r} evaluates it."]


def _differences(there: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Name the values that differ between two nested mappings: "optimizer.lr 0.1 instead of 0.01"."""
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        for key in [*wanted, *(key for key in there if key not in wanted)]:
            yield from _differences(there.get(key), wanted.get(key), f"{name}.{key}" if name else str(key))
    elif there != wanted:
        yield f"{name} {shown(there, 40)} instead of {shown(wanted, 40)}"
