"""What turns gradients into steps: accelerator, rates, compilation, random states, running means."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reidlab.devices import ComputePlan
from reidlab.models import Output
from reidlab.training.averaging import Averaging
from reidlab.training.curves import Scores
from reidlab.training.depthwise import fast_depthwise
from reidlab.training.distill import EMA, Lesson, lesson_of
from reidlab.training.freezing import Freezing
from reidlab.training.group import ALONE, Group
from reidlab.training.objective import Objective
from reidlab.training.optimizers import build_loss_optimizer, build_optimizer, describe_groups, set_rates
from reidlab.training.recipes import Recipe
from reidlab.training.schedules import annealed, schedule_of
from reidlab.training.slices import whole_output
from reidlab.training.synced_norms import synchronised

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Learner", "Means", "compiled", "make_accelerator", "random_states", "set_random_states"]


class Means:
    """Running sums on the device, so that no step waits for a number."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.n = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """Add the figures of one step."""
        self.n += 1
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value.float() if name in self.sums else value.float()

    def means(self) -> dict[str, float]:
        """Return the mean of each figure over the steps."""
        return {name: float(value) / self.n for name, value in self.sums.items()}

    def short(self) -> dict[str, str]:
        """Return the figures of a progress bar."""
        shown = ("loss", "active_share", "d_ap", "d_an")
        return {name: f"{float(self.sums[name]) / self.n:.3f}" for name in shown if name in self.sums}


class Learner:
    """A model and all that changes it: optimisers, rates, frozen modules, averages. One state goes into checkpoints.

    Args:
        recipe: the experiment.
        model: as built, on the CPU.
        objective: the recipe's losses; what they learn is trained beside the model.
        compute: where to compute.
        steps_per_epoch: batches of a nominal epoch.
        group: the processes that train.

    Attributes:
        groups: the parameter groups (see `describe_groups`).
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        objective: Objective,
        compute: ComputePlan,
        steps_per_epoch: int,
        group: Group = ALONE,
    ) -> None:
        self.recipe, self.model, self.objective, self.compute, self.group = recipe, model, objective, compute, group
        self.takes_labels = "labels" in inspect.signature(model.forward).parameters  # margins: before anything wraps it
        self.optimizer = build_optimizer(recipe.optimizer, model, objective)
        self.loss_optimizer = build_loss_optimizer(recipe.optimizer, objective)
        self.groups = describe_groups(self.optimizer, self.loss_optimizer)
        self._wants_logits = any(term.learns_from_teacher and term.feature == "logits" for term in recipe.losses)
        self.freezing = Freezing(recipe.freeze, model)
        self.schedule = schedule_of(
            recipe.schedule, base_lr=recipe.optimizer.lr, epochs=recipe.epochs, steps_per_epoch=steps_per_epoch
        )
        swa = recipe.swa
        if swa is not None and swa.lr is not None:
            goal = swa.lr / recipe.optimizer.lr
            self.schedule = annealed(self.schedule, start=swa.start, factor=goal, epochs=swa.anneal_epochs)

    def start(self, model: Mapping[str, Tensor] | None = None, state: dict[str, Any] | None = None) -> None:
        """Move everything to its device and load the weights and state of a checkpoint, if given."""
        self.accelerator = make_accelerator(self.compute, self.recipe.accumulate)
        self.compute.place(self.model)
        self.compute.place(self.objective)
        self.group.align(self.model, self.objective)
        self.averaging = Averaging(self.recipe, self.model, self.compute)
        if model is not None and state is not None:
            self.model.load_state_dict(model)
            self._load(state)
        self.prepared, self.stepper = self.accelerator.prepare(self.model, self.optimizer)
        if self.recipe.compile:
            # the validator runs self.model, which stays as it is
            self.prepared = compiled(self.prepared, self.compute.device)

    def begin_epoch(self, epoch: int) -> None:
        """Switch to training mode and freeze the modules that are frozen in this epoch."""
        self.prepared.train()
        self.freezing.begin(epoch)

    def step(
        self, images: Tensor, labels: Tensor, position: float, scores: Scores, lesson: Lesson | None = None
    ) -> tuple[Tensor, float]:
        """Learn from one batch (and its teachers) at a position in epochs; return loss and factor of the base rate.

        Args:
            images: this process's slice of the batch [slice, 3, height, width].
            labels: of the whole batch, as `lesson` is [batch].
            position: in epochs.
            scores: what was validated so far.
            lesson: what teachers say of the batch.
        """
        factor = self.schedule(position, scores)
        momentum = self.schedule.momentum(position) if self.schedule.momentum is not None else None
        set_rates(self.stepper.param_groups, factor, momentum)
        with self.accelerator.accumulate(self.prepared):
            own = self._output(images, labels)
            if self.recipe.teachers == (EMA,):
                lesson = self.group.whole(self._own_lesson(images), len(labels))
            output = whole_output(own, self.model, len(labels), self.group, self.compute)
            loss = self.objective(output, labels, lesson, own)
            self.accelerator.backward(loss)
            whole = self.accelerator.sync_gradients
            if whole:
                self.group.average([*self.model.parameters(), *self.objective.parameters()], self.model)
            if whole and self.recipe.clip_norm:
                self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.recipe.clip_norm)
            if whole:
                self._step_losses()
            self.stepper.step()
            self.stepper.zero_grad(set_to_none=True)
        if whole:
            self.averaging.after_step(self.model)
        return loss.detach(), factor

    def _output(self, images: Tensor, labels: Tensor) -> Output:
        """Return what the model says of this process's slice of a batch with labels [batch]."""
        with fast_depthwise(self.compute), synchronised(self.group, self.recipe.sync_norms):
            given = {"labels": labels[self.group.part(len(labels))]} if self.takes_labels else {}
            return Output(*self.prepared(images, **given))

    def _own_lesson(self, images: Tensor) -> Lesson:
        """Return what the average of the student's weights says of a batch (Mean Teacher, Tarvainen & Valpola 2017)."""
        assert self.averaging.ema is not None  # check_teachers sees to it
        with torch.no_grad(), self.compute.autocast():
            return lesson_of(self.averaging.ema.module, images, logits=self._wants_logits)

    def _step_losses(self) -> None:
        """Move what the losses learn, undoing the weights that they have in the sum.

        Before the model's step, which ends a step of the float16 scaler.
        """
        if self.loss_optimizer is None:
            return
        weights = dict(zip(self.objective.labels, (term.weight for term in self.objective.terms)))
        for label, parameters in self.objective.own_parameters:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad /= weights[label]
        scaler = self.accelerator.scaler
        if scaler is None:
            self.loss_optimizer.step()
        else:
            scaler.step(self.loss_optimizer)
        self.loss_optimizer.zero_grad(set_to_none=True)

    def end_epoch(self, epoch: int) -> None:
        """Take the epoch's weights into their average; on machines of several kinds they are those of process 0."""
        self.group.align(self.model, self.objective)
        self.averaging.after_epoch(self.model, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs besides the weights; parts that the recipe does not use are left out.

        All processes call it at once: the random states of the others are in it.
        """
        states = self.group.collect(random_states(self.compute))
        state = {"optimizer": self.optimizer.state_dict(), **states[0]}
        if len(states) > 1:
            state["others"] = states[1:]
        for name, part in (("averaging", self.averaging), ("objective", self.objective)):
            if part.state_dict():
                state[name] = part.state_dict()
        if self.accelerator.scaler is not None:  # float16: the loss scale and when it changed last
            state["scaler"] = self.accelerator.scaler.state_dict()
        return state

    def _load(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        if "scaler" in state and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        for name, part in (("averaging", self.averaging), ("objective", self.objective)):
            if name in state:
                part.load_state_dict(state[name])
        if self.group.leads:
            set_random_states(self.compute, state)
        elif len(state.get("others", ())) == self.group.size - 1:
            set_random_states(self.compute, state["others"][self.group.rank - 1])


def make_accelerator(compute: ComputePlan, accumulate: int) -> Accelerator:
    """Build an accelerator for the plan's device and precision."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    precision = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[compute.precision]
    AcceleratorState._reset_state(reset_partial_state=True)  # it is a singleton; runs may differ in precision
    return Accelerator(
        cpu=compute.device.type == "cpu",
        mixed_precision=precision,
        gradient_accumulation_steps=accumulate,
        step_scheduler_with_optimizer=False,
    )


def compiled(model: nn.Module, device: torch.device) -> Any:
    """Return the model compiled; warn and return it unchanged where torch.compile does not work."""
    if _can_compile(device.type):
        return torch.compile(model)
    warnings.warn(
        "compile: true is ignored: torch.compile does not work here (on the CPU it needs a C++ compiler). "
        "Training is slower, and its last digits differ from those with compilation.",
        stacklevel=2,
    )
    return model


@functools.cache
def _can_compile(device: str) -> bool:
    """Try it on a small function."""
    try:
        with torch.random.fork_rng():
            torch.compile(lambda x: x * 2 + 1)(torch.ones(8, device=device))
    except Exception:  # of many kinds: no compiler, no headers, no Triton, a platform that is not supported
        return False
    return True


def random_states(compute: ComputePlan) -> dict[str, Any]:
    """Return the states of torch's generators that training draws from."""
    states: dict[str, Any] = {"torch_rng": torch.get_rng_state()}
    if compute.device.type == "cuda":
        states["cuda_rng"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(compute: ComputePlan, states: dict[str, Any]) -> None:
    """Restore what `random_states` returned."""
    torch.set_rng_state(states["torch_rng"])
    if "cuda_rng" in states and compute.device.type == "cuda":
        torch.cuda.set_rng_state_all(states["cuda_rng"])
