"""Averages of weights (EMA, SWA) and recomputed BN statistics: what is validated and saved, while training goes on.

Nothing here changes the model that is trained: statistics are recomputed in a copy of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from reidlab.devices import ComputePlan
from reidlab.training.recipes import Recipe

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

__all__ = ["Averaging"]


class Averaging:
    """The average of a model's weights that a recipe asks for, or none.

    Args:
        recipe: its ema, swa and precise_bn.
        model: on its device; copied before anything wraps its forward.
        compute: precision of the passes that recompute BN statistics.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, compute: ComputePlan) -> None:
        self.recipe, self.compute = recipe, compute
        self.steps = 0
        self.ema: ModelEmaV3 | None = None
        self.swa: AveragedModel | None = None
        if recipe.ema is not None:
            from timm.utils import ModelEmaV3  # half of the seconds that importing `reidlab.training` would take

            self.ema = ModelEmaV3(model, decay=recipe.ema.decay, use_warmup=recipe.ema.warmup)
        if recipe.swa is not None:
            self.swa = AveragedModel(model)
        self.copy = copy.deepcopy(model) if self.swa is not None or recipe.precise_bn else None

    def after_step(self, model: nn.Module) -> None:
        """Take a step of the optimiser into the exponential average."""
        if self.ema is not None:
            self.steps += 1
            # without a step number timm takes the plain decay; with one, its first steps copy
            self.ema.update(model, step=self.steps if self.ema.use_warmup else None)

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take the weights after `epoch` (0 is the first) into the stochastic average, from its start on."""
        if self.swa is not None and self.recipe.swa is not None and epoch >= self.recipe.swa.start:
            self.swa.update_parameters(model)

    def n_batches(self, available: int, *, frozen: bool) -> int:
        """Return on how many of an epoch's `available` batches BN statistics are to be recomputed.

        While modules are frozen, their pretrained statistics stay: what is new was trained with them. The mean of
        weights needs new ones (Izmailov et al. 2018): from the whole epoch, where precise_bn says nothing.
        """
        if frozen:
            return 0
        return min(self.recipe.precise_bn or (available if self._swa_began() else 0), available)

    def _swa_began(self) -> bool:
        return self.swa is not None and int(self.swa.n_averaged) > 0

    def shown(self, model: nn.Module, batches: Iterable[Tensor] | None, *, seed: int) -> nn.Module:
        """Return the model to validate and save: the average if there is one, else the model itself.

        Args:
            model: as trained so far; its weights and statistics are left alone.
            batches: training input on which BN statistics are recomputed; None leaves them.
            seed: of the dropout in those passes; torch's own generators are put back.
        """
        source = model
        if self.ema is not None:
            source = self.ema.module
        elif self.swa is not None and self._swa_began():
            source = self.swa.module
        if self.copy is None or batches is None:
            return source
        self.copy.load_state_dict(source.state_dict())
        with torch.random.fork_rng(), self.compute.autocast():
            torch.manual_seed(seed)
            update_bn(batches, self.copy)
        return self.copy

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: averaged weights and counts; empty without an average."""
        average = self.ema if self.ema is not None else self.swa
        return {} if average is None else {"steps": self.steps, "average": average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        average = self.ema if self.ema is not None else self.swa
        if average is not None:
            self.steps = state["steps"]
            average.load_state_dict(state["average"])
