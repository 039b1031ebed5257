"""Train a model by a recipe, in this process or in several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from reidlab.data.pixels import PixelStore
from reidlab.data.triplets import Triplets
from reidlab.errors import UserError
from reidlab.training.group import ALONE, Group
from reidlab.training.job import Job, check_processes
from reidlab.training.loop import train
from reidlab.training.processes import train_together
from reidlab.training.recipes import Recipe
from reidlab.training.run import TrainingRun
from reidlab.training.tracking import check_tracking

__all__ = ["fit"]


def fit(
    recipe: Recipe,
    table: pd.DataFrame,
    pixels: PixelStore,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    triplets: Triplets | None = None,
    progress: bool = True,
    stop_after: int | None = None,
    tracking: Sequence[str] = (),
    run_name: str = "",
    processes: int = 1,
    group: Group = ALONE,
) -> TrainingRun | None:
    """Train by `recipe` on the train split of `table`, choosing the best epoch on its val split.

    A run stopped at any moment goes on from its last finished epoch when called again with the same arguments, and ends
    with the same bits as a run that was never stopped, provided that it goes on on the same grounds: machine, number of
    threads, versions of torch and its libraries (on the CPU; on a GPU as far as its kernels are deterministic). On
    others it keeps its precision, goes on, and a warning says what differs. A finished one is read from its folder.
    Several processes have the batches and losses of one; each computes a slice (docs/guide.md says what differs).
    Without a val split, or with one that cannot be scored (a warning says why), the last epoch counts.

    Args:
        recipe: the experiment.
        table: image table, row i is image i of `pixels`; splits train and (optional) val are used, without junk and
            distractors.
        pixels: uint8 store at the model's input size (other sizes are resized batch by batch).
        folder: where checkpoints, model and history go.
        seed: integer of 0 or more: initial weights, batches, augmentation, dropout.
        device: cpu, cuda, mps or auto.
        triplets: rows of `table` for recipes that train on given triplets; None draws random ones with `seed`.
        progress: show a bar over all epochs and a line for each.
        stop_after: stop (resumably) after this many epochs of this call and return None; for tests and short slots.
        tracking: where each epoch is logged too: tensorboard, mlflow (`reidlab dashboards` shows both). It changes no
            bit of the result.
        run_name: the name that trackers show, and of the folder in the end; empty: the folder's name as it is.
        processes: how many processes on this machine share every batch; more than one are started, and ended, here.
        group: processes that somebody else started (`reidlab.cli.launch`), this one the first of them; they are told
            what to train.

    Raises:
        UserError: a recipe that does not fit the data, a model to begin or learn from that is missing or does not fit,
            a folder that cannot be written or holds another training, a tracker whose packages are missing;
            TrainingStopped (a UserError) by an alarm.
    """
    if seed < 0:
        raise UserError(f"seed={seed} must be 0 or more.")
    check_tracking(tracking)
    check_processes(max(processes, group.size) if processes > 0 else processes, recipe, device)
    names = (tracking,) if isinstance(tracking, str) else tuple(tracking)
    job = Job(recipe, table, pixels, folder, seed, device, triplets, progress, stop_after, names, run_name)
    if processes > 1 and group.size == 1:
        return train_together(job, processes)
    return train(group.share(job), group)
