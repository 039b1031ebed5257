"""The loop of a training: resumable to the bit (`fit` says on which grounds), validated, stopped by alarms."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from reidlab.data.pixels import PixelStore
from reidlab.data.transforms import Augment
from reidlab.devices import ComputePlan
from reidlab.models import build, without_weights
from reidlab.models.saved import save_model
from reidlab.training.alarms import check_collapse, check_finite, check_weights
from reidlab.training.batches import BatchMaker, Prefetcher, trimmed
from reidlab.training.checkpoints import Checkpoints
from reidlab.training.distill import check_student, dim_of, make_teachers, told_of
from reidlab.training.engine import Learner, Means
from reidlab.training.grounds import (
    begun_on,
    grounds_of,
    plan_of,
    refuse_other,
    refuse_other_processes,
    say_changes,
)
from reidlab.training.group import ALONE, Group
from reidlab.training.job import Job
from reidlab.training.loss_options import complete_terms, give_class_counts
from reidlab.training.objective import Objective, check_features
from reidlab.training.optimizers import described
from reidlab.training.run import TrainingRun, facts_of, read_finished, summarise, write_finished
from reidlab.training.start import begin_from, begin_parts
from reidlab.training.synced_norms import has_batch_norms
from reidlab.training.task import make_task
from reidlab.training.telling import Telling
from reidlab.training.tracking import Tracking
from reidlab.training.validation import check_watched, make_validator

__all__ = ["TrainingRun", "train"]

_CHECK_EVERY = 20  # steps between two looks at the loss, which make the processor wait for the device


def train(job: Job, group: Group = ALONE, telling: Callable[..., Telling] = Telling) -> TrainingRun | None:
    """Do a job as one process of a group; all of them call this, and the first one writes and returns.

    Args:
        job: the same in all processes.
        group: all of them.
        telling: makes what shows the progress, with the arguments of `Telling`.

    Raises:
        UserError: as `reidlab.training.fit`; `Lost` where another process ended.
    """
    with torch.random.fork_rng():
        torch.manual_seed(job.seed)
        training = _Training(job, group, telling)
        names = job.tracking if group.leads else ()
        tracked = Tracking(names, job.run_name or job.folder.name, job.folder, training.given)
        return training.run(job.stop_after, tracked)


class _Training:
    def __init__(self, job: Job, group: Group, telling: Callable[..., Telling]) -> None:
        self.recipe, self.folder, self.group = job.recipe, job.folder, group
        recipe, seed, self.show = job.recipe, job.seed, job.progress and group.leads
        begun = begun_on(job.folder / "checkpoints") if group.leads else {}
        self.compute: ComputePlan = plan_of(job.device, recipe.precision, group.share(begun))
        needs_triplets = any(term.feature == "triplets" for term in recipe.losses)
        self.task = make_task(recipe, job.table, job.pixels, job.triplets, seed, needs_triplets=needs_triplets)
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
        self.batch = BatchMaker(job.pixels, augment, model.preprocess, self.compute, seed)  # type: ignore[arg-type]
        self.validator = make_validator(job.table, job.pixels, self.compute, seed=seed)
        self._make_learner = partial(self._learner, model, job.table, job.pixels)
        self._make_telling, self.seed = telling, seed
        self.given = {
            "recipe": recipe.model_dump(mode="json"),
            "seed": seed,
            "data": self.task.digest,
            "classes": self.task.classes,
        }
        self.grounds = [grounds_of(self.compute, group.size)]
        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] = {"epoch": -1, "val_map": -1.0}

    def _learner(self, model: nn.Module, table: pd.DataFrame, pixels: PixelStore) -> Learner:
        """Ask the teachers, and put together what learns."""
        recipe, task = self.recipe, self.task
        self.teachers = make_teachers(recipe, table, pixels, task, self.compute, progress=self.show)
        teacher_dim = dim_of(self.teachers, recipe, model)
        objective = Objective(
            complete_terms(recipe.losses, model, task.n_identities, teacher_dim), recipe.balance, self.group
        )
        learner = Learner(recipe, model, objective, self.compute, len(self._rows(0)), self.group)
        if learner.schedule.watches:
            check_watched(self.validator, recipe)
        return learner

    def run(self, stop_after: int | None, tracked: Tracking) -> TrainingRun | None:
        finished = read_finished(self.folder) if self.group.leads else None
        if finished is not None:
            refuse_other(self.folder, finished[1], self.given, self.recipe)
        if self.group.share(finished is not None):
            return finished[0] if finished is not None else None
        self.learner = self._make_learner()
        self.checkpoints = Checkpoints(self.folder / "checkpoints", writes=self.group.leads)
        start = self._resume()
        self.telling = self._make_telling(self.recipe.epochs, start, len(self._rows(start)), show=self.show)
        with tracked.following(self.history), closing(self.telling):
            for epoch in range(start, self.recipe.epochs):
                if self._out_of_patience():
                    break
                if stop_after is not None and epoch - start >= stop_after:
                    tracked.stopped()
                    return None
                row = self._epoch(epoch)
                if self.group.leads:
                    row |= self._validated(epoch)
                row, self.best = self.group.share((row, self.best))
                self.history.append(row)
                self._save(epoch + 1)
                tracked.log(self.history)
                self.telling.epoch(row)
        return self._finish() if self.group.leads else None

    def _validated(self, epoch: int) -> dict[str, float]:
        """Return the scores after `epoch` where it is validated, and keep the weights if they are the best."""
        last = epoch == self.recipe.epochs - 1
        if self.validator is None or not (last or (epoch + 1) % self.recipe.validate_every == 0):
            return {}
        shown = self._shown(epoch)
        scores = self.validator(shown)
        self._note_best(epoch, scores["val_map"], shown)
        return scores

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
        parts = [self.group.part(len(batch)) for batch in rows]
        with Prefetcher(lambda i: self.batch(rows[i], epoch, i, parts[i]), len(rows)) as stream:
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
        state = self.learner.state_dict()  # of all processes
        if self.group.leads:
            self.checkpoints.save(epochs_done, self.learner.model, state, progress)

    def _resume(self) -> int:
        found = self.group.share(self.checkpoints.load() if self.group.leads else None)
        self.group.part_ways(self.seed, found.epochs_done if found is not None else 0)
        if found is None:
            self.learner.start()
            return 0
        refuse_other(self.folder, found.progress, self.given, self.recipe)
        before, now = found.progress.get("grounds", []), self.grounds[-1]  # trainings before kept none
        norms = not self.recipe.sync_norms and has_batch_norms(self.learner.model)
        refuse_other_processes(self.folder, before[-1] if before else {}, now, norms)
        self.learner.start(found.model, found.state)
        self.history, self.best = found.progress["history"], found.progress["best"]
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
