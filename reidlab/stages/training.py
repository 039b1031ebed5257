"""Stage training: a recipe's model, trained on a prepared data set.

torch is imported where something is computed: a training that is found does without, in half the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidlab import store
from reidlab.data.triplets import Triplets
from reidlab.paths import data_root, exists, find
from reidlab.stages.data_run import DataRun
from reidlab.store.runs import Run
from reidlab.training.recipes import Recipe
from reidlab.training.tracking import check_tracking

if TYPE_CHECKING:
    from torch import nn

    from reidlab.training.group import Group

__all__ = ["describe_model", "trained_model", "training_stage"]


def training_stage(
    data: DataRun,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "auto",
    triplets: Triplets | None = None,
    name: str = "",
    progress: bool = True,
    tracking: Sequence[str] = (),
    processes: int = 1,
    group: Group | None = None,
) -> Run:
    """Train `recipe` on the train split, or find the run that did; stopped, it goes on where it was.

    Args:
        data: prepared data set.
        recipe: the experiment, changed as wanted.
        seed: of everything random in the training.
        device: cpu, cuda, mps or auto; not part of the digest.
        triplets: for recipes that train on given triplets; None draws random ones with `seed`.
        name: label of the run; empty: data set and recipe.
        progress: show bars, and a line for each epoch.
        tracking: where a training logs as it goes (tensorboard, mlflow); not part of the digest, and nothing is logged
            of a run that is found.
        processes: on this machine, that share every batch. Part of the digest where it decides the result: more than
            one whose norms see slices of the batches (the recipe says `sync_norms: false`).
        group: processes that somebody else started, and which follow this one (`reidlab.cli.launch`).
    """
    n_processes = processes if group is None else group.size
    _check(device, recipe, n_processes)  # a run that is found says nothing of what cannot be computed here
    check_tracking(tracking)
    used = data.table[data.table["split"].isin(["train", "val"])].reset_index(drop=True)
    params = {"recipe": recipe.experiment(), "dataset": data.run.params["dataset"], "seed": seed}
    if n_processes > 1 and not recipe.sync_norms:
        params["processes"] = n_processes
    inputs = [data.digest] + ([triplets.digest] if triplets is not None else []) + _weights_digests(recipe)
    label = name or f"{data.run.params['dataset']}-{recipe.name}"

    def make(folder: Path) -> Mapping[str, Any]:
        from reidlab.data.pixels import PixelStore
        from reidlab.models import build, without_weights
        from reidlab.training.fitting import fit
        from reidlab.training.group import ALONE

        title = f"{label}-{folder.name.rpartition('-')[2]}"  # as the folder is called in the end
        built: Any = build(without_weights(recipe.model) if recipe.start else recipe.model)
        size = (built.preprocess.height, built.preprocess.width)
        pixels = PixelStore.build(used, data_root() / "cache" / "pixels", size=size, progress=progress)
        finished = fit(
            recipe,
            used,
            pixels,
            folder,
            seed=seed,
            device=device,
            triplets=triplets,
            progress=progress,
            tracking=tracking,
            run_name=title,
            processes=processes,
            group=group or ALONE,
        )
        assert finished is not None  # only stop_after gives None
        report = getattr(getattr(built, "backbone", None), "load_report", None)
        loaded = {"weights": str(report)} if report is not None else {}
        return {**finished.summary, **describe_model(finished.load_model()), **loaded}

    return store.stage("training", label, params=params, inputs=inputs, make=make, resumable=True)


def _check(device: str, recipe: Recipe, processes: int) -> None:
    """Refuse a device that this machine lacks, processes it cannot have, and losses without the teachers they need."""
    if processes != 1:
        from reidlab.training.job import check_processes

        check_processes(processes, recipe, device)
    if device not in ("auto", "cpu"):  # which are everywhere
        from reidlab.devices import check_device

        check_device(device)
    if recipe.teachers or any(term.learns_from_teacher for term in recipe.losses):
        from reidlab.training.distill import check_teachers

        check_teachers(recipe)


def _weights_digests(recipe: Recipe) -> list[str]:
    """Return the digests of the weights that a recipe begins or learns from: other content, another run."""
    if not (recipe.model.get("weights") or recipe.start or recipe.parts_from or recipe.teachers):
        return []
    from reidlab.models.saved import saved_digest, saved_model
    from reidlab.models.weights.load import file_digest
    from reidlab.training.teachers import teacher_digests

    given = recipe.model.get("weights")
    files = [find(given)] if isinstance(given, str) and given else []
    if recipe.start:
        return [saved_digest(saved_model(recipe.start)), *teacher_digests(recipe.teachers)]
    begun = [file_digest(path) for path in files if exists(path) and path.is_file()]
    begun += [saved_digest(saved_model(run, option)) for option, run in recipe.parts_from.items()]
    return begun + teacher_digests(recipe.teachers)


def trained_model(run: Run) -> nn.Module:
    """Load the model of a training run, in eval mode."""
    from reidlab.models.saved import load_model

    return load_model(run.path / "model")


def describe_model(model: nn.Module) -> dict[str, int]:
    """Count what makes the embedding: parameters without classifiers, and multiply-adds for one image."""
    from reidlab.models import count_macs, count_parameters
    from reidlab.models.graph_files import GraphModel

    preprocess: Any = model.preprocess
    if isinstance(model, GraphModel):  # whose network is not torch's
        parameters, macs = model.counts
    else:
        parameters = count_parameters(model, classifiers=False)
        macs = count_macs(model, preprocess.height, preprocess.width)
    return {
        "parameters": parameters,
        "macs": macs,
        "height": preprocess.height,
        "width": preprocess.width,
        "dim": int(model.dim),  # type: ignore[arg-type]
    }
