"""Train a model by a recipe: resumable to the bit, validated on held-out identities, stopped by alarms."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm.auto import tqdm

from reidlab.data.pixels import PixelStore
from reidlab.data.transforms import Augment
from reidlab.data.triplets import Triplets
from reidlab.devices import ComputePlan, plan
from reidlab.errors import UserError
from reidlab.models import Output, build
from reidlab.training.alarms import check_collapse, check_finite
from reidlab.training.batches import BatchMaker, Prefetcher, trimmed
from reidlab.training.checkpoints import Checkpoints, save_model
from reidlab.training.engine import (
    Means,
    build_optimizer,
    compiled,
    make_accelerator,
    random_states,
    set_random_states,
)
from reidlab.training.objective import Objective
from reidlab.training.recipes import Recipe
from reidlab.training.run import Run, read_finished, summarise, write_finished
from reidlab.training.schedules import schedule_of
from reidlab.training.task import make_task
from reidlab.training.validation import make_validator

__all__ = ["Run", "fit"]

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
) -> Run | None:
    """Train by `recipe` on the train split of `table`, choosing the best epoch on its val split.

    A run stopped at any moment goes on from its last finished epoch when called again with the same arguments, and ends
    with the same bits as a run that was never stopped (on the CPU; on a GPU as far as its kernels are deterministic). A
    finished one is read from its folder. Without a val split, or with one that cannot be scored (a warning says why),
    the last epoch counts.

    Args:
        recipe: the experiment.
        table: image table, row i is image i of `pixels`; splits train and (optional) val are used, without junk and
            distractors.
        pixels: uint8 store at the model's input size (other sizes are resized batch by batch).
        folder: where checkpoints, model and history go.
        seed: integer of 0 or more: initial weights, batches, augmentation, dropout.
        device: cpu, cuda, mps or auto.
        triplets: rows of `table` for recipes that train on given triplets; None draws random ones with `seed`.
        progress: show bars.
        stop_after: stop (resumably) after this many epochs of this call and give None; for tests and short slots.

    Raises:
        UserError: a recipe that does not fit the data, a folder that cannot be written or holds another training;
            TrainingStopped (a UserError) by an alarm.
    """
    if seed < 0:
        raise UserError(f"seed={seed} must be 0 or more.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _Training(recipe, table, pixels, folder, seed, device, triplets, progress).run(stop_after)


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
        self.compute: ComputePlan = plan(device, recipe.precision)
        self.objective = Objective(recipe.losses)
        self.task = make_task(recipe, table, pixels, triplets, seed, needs_triplets=self.objective.needs_triplets)
        needs_classes = any(term.feature == "logits" for term in recipe.losses)
        n_classes = self.task.n_identities if needs_classes else 0
        self.config = {"spec": recipe.model, "num_classes": n_classes, "recipe": recipe.name}
        self.model = build(recipe.model, n_classes)
        augment = Augment(**recipe.augment.model_dump())
        self.batch = BatchMaker(pixels, augment, self.model.preprocess, self.compute, seed)  # type: ignore[arg-type]
        self.validator = make_validator(table, pixels, self.compute, seed=seed)
        self.optimizer = build_optimizer(recipe.optimizer, self.model)
        self.factor = schedule_of(
            recipe.schedule,
            base_lr=recipe.optimizer.lr,
            epochs=recipe.epochs,
            steps_per_epoch=len(trimmed(self.task.sampler.batches(0), recipe.accumulate)),
        )
        self.given = {"recipe": recipe.model_dump(mode="json"), "seed": seed, "data": self.task.digest}
        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] = {"epoch": -1, "val_map": -1.0}

    def run(self, stop_after: int | None) -> Run | None:
        finished = read_finished(self.folder)
        if finished is not None:
            self._refuse_other(finished[1])
            return finished[0]
        self.checkpoints = Checkpoints(self.folder / "checkpoints")
        accelerator = make_accelerator(self.compute, self.recipe.accumulate)
        self.compute.place(self.model)
        start = self._resume(accelerator)
        model, optimizer = accelerator.prepare(self.model, self.optimizer)
        if self.recipe.compile:
            model = compiled(model, self.compute.device)  # the validator runs self.model, which stays as it is
        for epoch in range(start, self.recipe.epochs):
            if self._out_of_patience():
                break
            if stop_after is not None and epoch - start >= stop_after:
                return None
            row = self._epoch(epoch, accelerator, model, optimizer)
            last = epoch == self.recipe.epochs - 1
            if self.validator is not None and (last or (epoch + 1) % self.recipe.validate_every == 0):
                row |= self.validator(self.model)
                self._note_best(epoch, row["val_map"])
            self.history.append(row)
            self._save(epoch + 1, accelerator)
        return self._finish()

    def _epoch(self, epoch: int, accelerator: Accelerator, model: nn.Module, optimizer: Any) -> dict[str, float]:
        rows = [self.task.rows(batch) for batch in trimmed(self.task.sampler.batches(epoch), self.recipe.accumulate)]
        totals = Means()
        model.train()
        began = time.perf_counter()
        with Prefetcher(lambda i: self.batch(rows[i], epoch, i), len(rows)) as stream:
            bar = tqdm(
                stream,
                total=len(rows),
                desc=f"epoch {epoch + 1}",
                leave=False,
                mininterval=1,
                disable=not self.progress,
            )
            for step, images in enumerate(bar):
                factor = self.factor(epoch + step / len(rows))
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * factor
                loss = self._step(images, self.task.labels[rows[step]], accelerator, model, optimizer)
                totals.add({"loss": loss, **self.objective.stats})
                if step % _CHECK_EVERY == 0 or step == len(rows) - 1:
                    check_finite(float(loss), epoch + 1, step + 1)
                    bar.set_postfix(totals.short())
            self.compute.synchronize()
            seconds = time.perf_counter() - began
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

    def _step(
        self, images: Tensor, labels: np.ndarray, accelerator: Accelerator, model: nn.Module, optimizer: Any
    ) -> Tensor:
        targets = torch.from_numpy(labels).to(self.compute.device)
        with accelerator.accumulate(model):
            loss = self.objective(Output(*model(images)), targets)
            accelerator.backward(loss)
            if accelerator.sync_gradients and self.recipe.clip_norm:
                accelerator.clip_grad_norm_(model.parameters(), self.recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _note_best(self, epoch: int, val_map: float) -> None:
        if val_map > self.best["val_map"]:
            self.best = {"epoch": epoch + 1, "val_map": val_map}
            self.checkpoints.save_best(self.model, epoch + 1)

    def _out_of_patience(self) -> bool:
        if not self.recipe.patience:
            return False
        scored = [row["epoch"] for row in self.history if "val_map" in row]
        return sum(epoch > self.best["epoch"] for epoch in scored) >= self.recipe.patience

    def _save(self, epochs_done: int, accelerator: Accelerator) -> None:
        state = {"optimizer": self.optimizer.state_dict(), **random_states(self.compute)}
        if accelerator.scaler is not None:  # float16: the loss scale and when it changed last
            state["scaler"] = accelerator.scaler.state_dict()
        progress = {"history": self.history, "best": self.best, **self.given}
        self.checkpoints.save(epochs_done, self.model, state, progress)

    def _resume(self, accelerator: Accelerator) -> int:
        found = self.checkpoints.load()
        if found is None:
            return 0
        self._refuse_other(found.progress)
        self.model.load_state_dict(found.model)
        self.optimizer.load_state_dict(found.state["optimizer"])
        if "scaler" in found.state and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(found.state["scaler"])
        set_random_states(self.compute, found.state)
        self.history, self.best = found.progress["history"], found.progress["best"]
        return found.epochs_done

    def _refuse_other(self, progress: dict[str, Any]) -> None:
        other = [name for name, value in self.given.items() if progress.get(name) != value]
        if other:
            what = " and ".join(other)
            raise UserError(f"{self.folder} holds a training with another {what}; choose another folder or remove it.")

    def _finish(self) -> Run:
        best_epoch = int(self.best["epoch"])
        if best_epoch > 0:
            self.model.load_state_dict(self.checkpoints.load_best(best_epoch))
        else:
            best_epoch = int(self.history[-1]["epoch"])
        save_model(self.model, self.folder / "model", self.config)
        history = pd.DataFrame(self.history)
        about = {
            "recipe": self.recipe.name,
            "epochs_planned": self.recipe.epochs,
            "best_epoch": best_epoch,
            "best_val_map": self.best["val_map"] if self.best["epoch"] > 0 else None,
            "num_classes": self.config["num_classes"],
            "device": str(self.compute.device),
            "precision": self.compute.precision,
        }
        run = Run(self.folder, history, best_epoch, summarise(history, about))
        write_finished(run, self.given)
        self.checkpoints.clear()
        return run
