"""Train a model by a recipe: resumable to the bit, validated on held-out identities, stopped by alarms."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from tqdm.auto import tqdm

from reidlab.data.pixels import PixelStore
from reidlab.data.samplers import Sampler, build_sampler
from reidlab.data.transforms import Augment
from reidlab.data.triplets import Triplets, make_triplets
from reidlab.devices import ComputePlan, plan
from reidlab.errors import UserError
from reidlab.models import Output, build
from reidlab.training.alarms import check_collapse, check_finite
from reidlab.training.batches import BatchMaker, Prefetcher, trimmed
from reidlab.training.checkpoints import Checkpoints, load_model, save_model
from reidlab.training.objective import Objective
from reidlab.training.recipes import Recipe
from reidlab.training.schedules import build_schedule
from reidlab.training.validation import make_validator

__all__ = ["Run", "fit"]

_CHECK_EVERY = 20  # steps between two looks at the loss, which make the processor wait for the device


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: holds model/ (weights and config), history.parquet.
        history: one row an epoch.
        best_epoch: the epoch whose weights model/ has.
        summary: figures for manifests: epochs, parameters, images, minutes, best validation.
    """

    folder: Path
    history: pd.DataFrame
    best_epoch: int
    summary: dict[str, Any]

    def load_model(self) -> nn.Module:
        """Build the trained model in eval mode."""
        return load_model(self.folder / "model")


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

    A run stopped at any moment goes on from its last finished epoch when called again with the same arguments, and ends with
    the same bits as a run that was never stopped (on the CPU; on a GPU as far as its kernels are deterministic).

    Args:
        recipe: the experiment.
        table: image table, row i is image i of `pixels`; splits train and (optional) val are used.
        pixels: uint8 store at the model's input size (other sizes are resized batch by batch).
        folder: where checkpoints, model and history go.
        seed: integer of 0 or more: initial weights, batches, augmentation, dropout.
        device: cpu, cuda, mps or auto.
        triplets: rows of `table` for recipes that train on given triplets; None draws random ones with `seed`.
        progress: show bars.
        stop_after: stop (resumably) after this many epochs of this call and give None; for tests and short slots.

    Raises:
        UserError: a recipe that does not fit the data; TrainingStopped (a UserError) by an alarm.
    """
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
        if seed < 0:
            raise UserError(f"seed={seed} must be 0 or more.")
        self.recipe, self.table, self.folder, self.progress = recipe, table, folder, progress
        self.compute: ComputePlan = plan(device, recipe.precision)
        folder.mkdir(parents=True, exist_ok=True)
        rows = np.flatnonzero((table["split"] == "train").to_numpy())
        if not len(rows):
            raise UserError("The table has no train images; prepare a split first (notebook 01).")
        self.objective = Objective(recipe.losses)
        names, codes = np.unique(table["pid"].to_numpy()[rows].astype(str), return_inverse=True)
        self.labels = np.full(len(table), -1, dtype=np.int64)
        self.labels[rows] = codes
        self.units = self._units(rows, triplets, seed)
        labels = self.labels[self.units[:, 0]]
        options = recipe.sampler.model_dump(exclude={"name"}, exclude_none=True)
        self.sampler: Sampler = build_sampler(recipe.sampler.name, labels, seed=seed, **options)
        needs_classes = any(term.feature == "logits" for term in recipe.losses)
        self.config = {"spec": recipe.model, "num_classes": len(names) if needs_classes else 0, "recipe": recipe.name}
        self.model = build(recipe.model, self.config["num_classes"])  # type: ignore[arg-type]
        augment = Augment(**recipe.augment.model_dump())
        self.batch = BatchMaker(pixels, augment, self.model.preprocess, self.compute, seed)  # type: ignore[arg-type]
        self.validator = make_validator(table, pixels, self.compute, seed=seed)
        self.optimizer = _optimizer(recipe, self.model)
        nominal = len(trimmed(self.sampler.batches(0), recipe.accumulate))
        schedule = dict(recipe.schedule)
        name = schedule.pop("name", "constant")
        base_lr = recipe.optimizer.lr
        self.factor = build_schedule(name, base_lr=base_lr, epochs=recipe.epochs, steps_per_epoch=nominal, **schedule)
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] = {"epoch": -1, "val_map": -1.0}

    def _units(self, rows: np.ndarray, triplets: Triplets | None, seed: int) -> np.ndarray:
        """What the sampler draws: rows [n, 1], or triplets of rows [n, 3]."""
        if not self.objective.needs_triplets:
            return rows[:, None]
        if triplets is None:
            train = self.table.iloc[rows].reset_index(drop=True)
            frame = make_triplets(train, seed=seed).frame
            return rows[frame[["anchor", "positive", "negative"]].to_numpy()]
        units = triplets.frame[["anchor", "positive", "negative"]].to_numpy()
        if units.max(initial=-1) >= len(self.table) or (self.labels[units] < 0).any():
            raise UserError("The triplets do not belong to this table's train split; make them anew (notebook 02).")
        return units

    def run(self, stop_after: int | None) -> Run | None:
        accelerator = self._accelerator()
        start = self._resume()
        model, optimizer = accelerator.prepare(self.model, self.optimizer)
        if self.recipe.compile:
            model = torch.compile(model)  # the validator runs self.model, which stays as it is
        for epoch in range(start, self.recipe.epochs):
            if stop_after is not None and epoch - start >= stop_after:
                return None
            row = self._epoch(epoch, accelerator, model, optimizer)
            last = epoch == self.recipe.epochs - 1
            if self.validator is not None and (last or (epoch + 1) % self.recipe.validate_every == 0):
                row |= self.validator(self.model)
                self._note_best(epoch, row["val_map"])
            self.history.append(row)
            self._save(epoch + 1)
            if self._out_of_patience():
                break
        return self._finish()

    def _accelerator(self) -> Accelerator:
        precision = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[self.compute.precision]
        AcceleratorState._reset_state(reset_partial_state=True)  # it is a singleton; runs may differ in precision
        return Accelerator(
            cpu=self.compute.device.type == "cpu",
            mixed_precision=precision,
            gradient_accumulation_steps=self.recipe.accumulate,
            step_scheduler_with_optimizer=False,
        )

    def _epoch(self, epoch: int, accelerator: Accelerator, model: nn.Module, optimizer: Any) -> dict[str, float]:
        batches = trimmed(self.sampler.batches(epoch), self.recipe.accumulate)
        rows = [self.units[batch].T.reshape(-1) for batch in batches]  # triplets: all anchors, positives, negatives
        totals = _Means()
        model.train()
        began = time.perf_counter()
        with Prefetcher(lambda i: self.batch(rows[i], epoch, i), len(rows)) as stream:
            bar = tqdm(stream, total=len(rows), desc=f"epoch {epoch + 1}", leave=False, disable=not self.progress)
            for step, images in enumerate(bar):
                factor = self.factor(epoch + step / len(rows))
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * factor
                labels = torch.from_numpy(self.labels[rows[step]]).to(self.compute.device)
                with accelerator.accumulate(model):
                    loss = self.objective(Output(*model(images)), labels)
                    accelerator.backward(loss)
                    if accelerator.sync_gradients and self.recipe.clip_norm:
                        accelerator.clip_grad_norm_(model.parameters(), self.recipe.clip_norm)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                totals.add({"loss": loss.detach(), **self.objective.stats})
                if step % _CHECK_EVERY == 0 or step == len(rows) - 1:
                    check_finite(float(loss.detach()), epoch + 1, step + 1)
                    bar.set_postfix(totals.short())
            self.compute.synchronize()
            seconds = time.perf_counter() - began
            waited = stream.waited
        means = totals.means()
        check_collapse(epoch + 1, means.get("d_ap", np.nan), means.get("d_an", np.nan))
        n_images = sum(map(len, rows))
        return {
            "epoch": epoch + 1,
            "lr": self.recipe.optimizer.lr * factor,
            "seconds": seconds,
            "images": n_images,
            "images_per_second": n_images / seconds,
            "wait_share": waited / seconds,
            **means,
        }

    def _note_best(self, epoch: int, val_map: float) -> None:
        if val_map > self.best["val_map"]:
            self.best = {"epoch": epoch + 1, "val_map": val_map}
            self.checkpoints.save_best(self.model, epoch + 1)

    def _out_of_patience(self) -> bool:
        if not self.recipe.patience:
            return False
        scored = [row["epoch"] for row in self.history if "val_map" in row]
        return sum(epoch > self.best["epoch"] for epoch in scored) >= self.recipe.patience

    def _save(self, epochs_done: int) -> None:
        state = {"optimizer": self.optimizer.state_dict(), "torch_rng": torch.get_rng_state()}
        if self.compute.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state_all()
        progress = {"history": self.history, "best": self.best, "recipe": self.recipe.model_dump(mode="json")}
        self.checkpoints.save(epochs_done, self.model, state, progress)

    def _resume(self) -> int:
        self.compute.place(self.model)
        found = self.checkpoints.load()
        if found is None:
            return 0
        if found.progress["recipe"] != self.recipe.model_dump(mode="json"):
            raise UserError(f"{self.folder} holds a checkpoint of another recipe; choose another folder or remove it.")
        self.model.load_state_dict(found.model)
        self.optimizer.load_state_dict(found.state["optimizer"])
        torch.set_rng_state(found.state["torch_rng"])
        if "cuda_rng" in found.state and self.compute.device.type == "cuda":
            torch.cuda.set_rng_state_all(found.state["cuda_rng"])
        self.history, self.best = found.progress["history"], found.progress["best"]
        return found.epochs_done

    def _finish(self) -> Run:
        best_epoch = int(self.best["epoch"])
        if best_epoch > 0:
            self.model.load_state_dict(self.checkpoints.load_best())
        else:
            best_epoch = int(self.history[-1]["epoch"])
        save_model(self.model, self.folder / "model", self.config)
        history = pd.DataFrame(self.history)
        history.to_parquet(self.folder / "history.parquet")
        summary = {
            "recipe": self.recipe.name,
            "epochs": len(history),
            "epochs_planned": self.recipe.epochs,
            "best_epoch": best_epoch,
            "best_val_map": self.best["val_map"] if self.best["epoch"] > 0 else None,
            "num_classes": self.config["num_classes"],
            "train_images_seen": int(history["images"].sum()),
            "minutes": float(history["seconds"].sum() / 60),
            "wait_share": float((history["wait_share"] * history["seconds"]).sum() / history["seconds"].sum()),
            "device": str(self.compute.device),
            "precision": self.compute.precision,
        }
        return Run(self.folder, history, best_epoch, summary)


class _Means:
    """Running sums on the device, so that no step waits for a number."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.n = 0

    def add(self, values: dict[str, Tensor]) -> None:
        self.n += 1
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value.float() if name in self.sums else value.float()

    def means(self) -> dict[str, float]:
        return {name: float(value) / self.n for name, value in self.sums.items()}

    def short(self) -> dict[str, str]:
        shown = ("loss", "active_share", "d_ap", "d_an")
        return {name: f"{float(self.sums[name]) / self.n:.3f}" for name in shown if name in self.sums}


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser; norms and biases are not decayed by adamw, and every group remembers its base rate."""
    part = recipe.optimizer
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups: Iterable[dict[str, Any]] = [{"params": trainable, "weight_decay": part.weight_decay}]
    if part.name == "adamw":
        groups = [
            {"params": [p for p in trainable if p.dim() > 1], "weight_decay": part.weight_decay},
            {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
        ]
    groups = [{**group, "base_lr": part.lr} for group in groups]
    if part.name == "sgd":
        return torch.optim.SGD(groups, lr=part.lr, momentum=part.momentum)
    kind = torch.optim.Adam if part.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=part.lr)
