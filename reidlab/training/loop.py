"""Train a model by a recipe: resumable to the bit (`fit` says on which grounds), validated, stopped by alarms."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from reidlab.data.pixels import PixelStore
from reidlab.data.transforms import Augment
from reidlab.data.triplets import Triplets
from reidlab.devices import ComputePlan
from reidlab.errors import UserError
from reidlab.models import build, without_weights
from reidlab.models.saved import save_model
from reidlab.training.alarms import check_collapse, check_finite, check_weights
from reidlab.training.batches import BatchMaker, Prefetcher, trimmed
from reidlab.training.checkpoints import Checkpoints
from reidlab.training.distill import check_student, dim_of, make_teachers, told_of
from reidlab.training.engine import Learner, Means
from reidlab.training.grounds import begun_on, grounds_of, plan_of, refuse_other, say_changes
from reidlab.training.loss_options import complete_terms, give_class_counts
from reidlab.training.objective import Objective, check_features
from reidlab.training.optimizers import described
from reidlab.training.recipes import Recipe
from reidlab.training.run import TrainingRun, facts_of, read_finished, summarise, write_finished
from reidlab.training.start import begin_from, begin_parts
from reidlab.training.task import make_task
from reidlab.training.telling import Telling
from reidlab.training.tracking import Tracking, check_tracking
from reidlab.training.validation import check_watched, make_validator

__all__ = ["TrainingRun", "fit"]

_CHECK_EVERY = 20  # steps between two looks at the loss, which make the processor wait for the device


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
) -> TrainingRun | None:
    """Train by `recipe` on the train split of `table`, choosing the best epoch on its val split.

    A run stopped at any moment goes on from its last finished epoch when called again with the same arguments, and ends
    with the same bits as a run that was never stopped, provided that it goes on on the same grounds: machine, number of
    threads, versions of torch and its libraries (on the CPU; on a GPU as far as its kernels are deterministic). On
    others it keeps its precision, goes on, and a warning says what differs. A finished one is read from its folder.
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

    Raises:
        UserError: a recipe that does not fit the data, a model to begin or learn from that is missing or does not fit,
            a folder that cannot be written or holds another training, a tracker whose packages are missing;
            TrainingStopped (a UserError) by an alarm.
    """
    if seed < 0:
        raise UserError(f"seed={seed} must be 0 or more.")
    check_tracking(tracking)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        training = _Training(recipe, table, pixels, folder, seed, device, triplets, progress)
        tracked = Tracking(tracking, run_name or folder.name, folder, training.given)
        return training.run(stop_after, tracked)


class _Training:
    def __init__(
        self,
        recipe: Recipe,
        table: pd.DataFrame,
        pixels: PixelStore,
        folder: Path,
        seed: int,
        device: str,
        triplets: Triplets | None,
        progress: bool,
    ) -> None:
        self.recipe, self.folder, self.progress = recipe, folder, progress
        self.compute: ComputePlan = plan_of(device, recipe.precision, begun_on(folder / "checkpoints"))
        needs_triplets = any(term.feature == "triplets" for term in recipe.losses)
        self.task = make_task(recipe, table, pixels, triplets, seed, needs_triplets=needs_triplets)
        needs_classes = any(term.feature == "logits" for term in recipe.losses)
        n_classes = self.task.n_identities if needs_classes else 0
        self.config = {"spec": recipe.model, "num_classes": n_classes, "recipe": recipe.name}
        model = build(without_weights(recipe.model) if recipe.start else recipe.model, n_classes)
        self.started = begin_from(model, recipe.start, self.task) if recipe.start else ""
        self.started = begin_parts(model, recipe.parts_from) or self.started
        check_features(recipe.losses)
        check_student(recipe, model)
        give_class_counts(model, self.task.labels)
        augment = Augment(**recipe.augment.model_dump())
        self.batch = BatchMaker(pixels, augment, model.preprocess, self.compute, seed)  # type: ignore[arg-type]
        self.validator = make_validator(table, pixels, self.compute, seed=seed)
        self._make_learner = partial(self._learner, model, table, pixels)
        self.seed = seed
        self.given = {
            "recipe": recipe.model_dump(mode="json"),
            "seed": seed,
            "data": self.task.digest,
            "classes": self.task.classes,
        }
        self.grounds = [grounds_of(self.compute)]
        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] = {"epoch": -1, "val_map": -1.0}

    def _learner(self, model: nn.Module, table: pd.DataFrame, pixels: PixelStore) -> Learner:
        """Ask the teachers, and put together what learns."""
        recipe, task = self.recipe, self.task
        self.teachers = make_teachers(recipe, table, pixels, task, self.compute, progress=self.progress)
        teacher_dim = dim_of(self.teachers, recipe, model)
        objective = Objective(complete_terms(recipe.losses, model, task.n_identities, teacher_dim), recipe.balance)
        learner = Learner(recipe, model, objective, self.compute, len(self._rows(0)))
        if learner.schedule.watches:
            check_watched(self.validator, recipe)
        return learner

    def run(self, stop_after: int | None, tracked: Tracking) -> TrainingRun | None:
        finished = read_finished(self.folder)
        if finished is not None:
            refuse_other(self.folder, finished[1], self.given, self.recipe)
            return finished[0]
        self.learner = self._make_learner()
        self.checkpoints = Checkpoints(self.folder / "checkpoints")
        start = self._resume()
        self.telling = Telling(self.recipe.epochs, start, len(self._rows(start)), show=self.progress)
        with tracked.following(self.history), closing(self.telling):
            for epoch in range(start, self.recipe.epochs):
                if self._out_of_patience():
                    break
                if stop_after is not None and epoch - start >= stop_after:
                    tracked.stopped()
                    return None
                row = self._epoch(epoch)
                last = epoch == self.recipe.epochs - 1
                if self.validator is not None and (last or (epoch + 1) % self.recipe.validate_every == 0):
                    shown = self._shown(epoch)
                    row |= self.validator(shown)
                    self._note_best(epoch, row["val_map"], shown)
                self.history.append(row)
                self._save(epoch + 1)
                tracked.log(self.history)
                self.telling.epoch(row)
        return self._finish()

    def _rows(self, epoch: int) -> list[np.ndarray]:
        """Return the table rows of an epoch's batches."""
        batches = trimmed(self.task.sampler.batches(epoch), self.recipe.accumulate)
        return [self.task.rows(batch) for batch in batches]

    def _epoch(self, epoch: int) -> dict[str, float]:
        rows = self._rows(epoch)
        scores = [(row["epoch"], row["val_map"]) for row in self.history if "val_map" in row]
        totals = Means()
        self.learner.begin_epoch(epoch)
        began = time.perf_counter()
        with Prefetcher(lambda i: self.batch(rows[i], epoch, i), len(rows)) as stream:
            for step, images in enumerate(stream):
                labels = torch.from_numpy(self.task.labels[rows[step]]).to(self.compute.device)
                lesson = self.teachers.lesson(rows[step]) if self.teachers is not None else None
                loss, factor = self.learner.step(images, labels, epoch + step / len(rows), scores, lesson)
                totals.add({"loss": loss, **self.learner.objective.stats})
                if step % _CHECK_EVERY == 0 or step == len(rows) - 1:
                    check_finite(float(loss), epoch + 1, step + 1)
                    self.telling.stats(totals.short())
                self.telling.step(epoch, step)
            self.compute.synchronize()
            seconds = time.perf_counter() - began
        self.learner.end_epoch(epoch)
        check_weights(self.learner.model, epoch + 1)
        means = totals.means()
        check_collapse(epoch + 1, means.get("d_ap", np.nan), means.get("d_an", np.nan))
        n_images = sum(map(len, rows))
        return {
            "epoch": epoch + 1,
            "lr": self.recipe.optimizer.lr * factor,
            "seconds": seconds,
            "images": n_images,
            "images_per_second": n_images / seconds,
            "wait_share": stream.waited / seconds,
            **means,
        }

    def _shown(self, epoch: int) -> nn.Module:
        """Return the model that is validated and saved after `epoch`: a function of weights, seed and epoch."""
        learner, rows = self.learner, self._rows(epoch)
        n = learner.averaging.n_batches(len(rows), frozen=learner.freezing.holds(epoch))
        batches = (self.batch(rows[i], epoch, i) for i in range(n)) if n else None
        return learner.averaging.shown(learner.model, batches, seed=self.seed + epoch)

    def _note_best(self, epoch: int, val_map: float, shown: nn.Module) -> None:
        if val_map > self.best["val_map"]:
            self.best = {"epoch": epoch + 1, "val_map": val_map}
            self.checkpoints.save_best(shown, epoch + 1)

    def _out_of_patience(self) -> bool:
        if not self.recipe.patience:
            return False
        scored = [row["epoch"] for row in self.history if "val_map" in row]
        return sum(epoch > self.best["epoch"] for epoch in scored) >= self.recipe.patience

    def _save(self, epochs_done: int) -> None:
        progress = {"history": self.history, "best": self.best, "grounds": self.grounds, **self.given}
        self.checkpoints.save(epochs_done, self.learner.model, self.learner.state_dict(), progress)

    def _resume(self) -> int:
        found = self.checkpoints.load()
        if found is None:
            self.learner.start()
            return 0
        refuse_other(self.folder, found.progress, self.given, self.recipe)
        self.learner.start(found.model, found.state)
        self.history, self.best = found.progress["history"], found.progress["best"]
        before, now = found.progress.get("grounds", []), self.grounds[-1]  # trainings before kept none
        if before and before[-1] != now:
            say_changes(before[-1], now)
            self.grounds = [*before, now]
        return found.epochs_done

    def _finish(self) -> TrainingRun:
        best_epoch, model = int(self.best["epoch"]), self.learner.model
        if best_epoch > 0:
            model.load_state_dict(self.checkpoints.load_best(best_epoch))
        else:
            best_epoch = int(self.history[-1]["epoch"])
            model = self._shown(best_epoch - 1)
        save_model(model, self.folder / "model", self.config)
        history = pd.DataFrame(self.history)
        about = {
            **facts_of(self.recipe, self.best, best_epoch, self.compute),
            "num_classes": self.config["num_classes"],
            "sampler_note": self.task.sampler.note,
            **({"start": self.started} if self.started else {}),
            **told_of(self.teachers, self.recipe),
            **({"grounds": self.grounds} if len(self.grounds) > 1 else {}),
            "parameter_groups": described(self.learner.groups),
        }
        run = TrainingRun(self.folder, history, best_epoch, summarise(history, about))
        write_finished(run, self.given)
        self.checkpoints.clear()
        return run
