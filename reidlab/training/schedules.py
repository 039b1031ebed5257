"""Schedules by name: learning rates as pure functions of the place in training, so that a resumed run needs no state.

A schedule maps a position, in epochs (2.5 is the middle of the third), to a factor of the base rate; `plateau` sees
the validations before it as well. Per-epoch schedules are floored to whole epochs, as their authors stepped them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from reidlab.documents import plain
from reidlab.errors import UserError, nearest
from reidlab.registry import SCHEDULES, Entry
from reidlab.training import curves
from reidlab.training.curves import Scores

__all__ = ["SCHEDULES", "Schedule", "annealed", "build_schedule", "momentum_of", "options_of", "schedule_of"]


@dataclass(frozen=True)
class Schedule:
    """Factor of the base rate at a position; called as schedule(position) or schedule(position, scores).

    Attributes:
        factor: (position, scores) -> factor.
        momentum: position -> SGD's momentum or Adam's beta1, where the schedule cycles it; else None.
        watches: whether the factor depends on the scores.
    """

    factor: Callable[[float, Scores], float]
    momentum: Callable[[float], float] | None = None
    watches: bool = False

    def __call__(self, position: float, scores: Scores = ()) -> float:
        """Return the factor at `position`, given all validations so far."""
        return self.factor(position, scores)


def build_schedule(name: str, *, base_lr: float, epochs: int, steps_per_epoch: int, **options: Any) -> Schedule:
    """Build a schedule. For `onecycle` the base rate is the maximal one.

    Every schedule takes, beside its own options: `start` (epochs by which it is delayed; it still ends with the
    training), `ahead` (epochs by which it is read in advance: 1 where a trainer moves the rate at the beginning of each
    epoch, the first one too), `by` ("epoch" floors the position, "step" does not) and, where it has no warm-up of its
    own, `warmup_epochs` and `warmup_factor` (a linear ramp that begins with the training and is multiplied with it).
    `onecycle` also takes `cycle_momentum: true` with `base_momentum` and `max_momentum`, torch's default.

    Raises:
        UserError: unknown name or option, or a value that gives no rate.
    """
    entry = SCHEDULES.find(name)
    own, moving, common = _options(entry)
    known = [*own, *moving, *common]
    for option in options:
        if option not in known:
            hint = nearest(option, known)
            raise UserError(f"schedule {name!r} has no option {option!r}; it has {', '.join(known)}.{hint}")
    idle = [option for option in moving[1:] if option in options and not options.get("cycle_momentum")]
    if idle:
        raise UserError(f"schedule {name!r}: {', '.join(idle)} does nothing without cycle_momentum: true.")
    try:
        schedule = _compose(entry, options, common, base_lr, epochs, steps_per_epoch)
        places = [*range(0, epochs, max(1, epochs // 200)), epochs - 1 / steps_per_epoch]
        usable = all(0 <= schedule(place) < math.inf for place in places)
        if schedule.momentum is not None and not all(0 <= schedule.momentum(place) < 1 for place in places):
            raise UserError(f"{options} give a momentum outside 0 to 1.")
    except UserError as error:
        raise UserError(f"schedule {name!r}: {error}") from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"schedule {name!r} cannot use {options} ({error}).") from error
    if not usable:
        raise UserError(f"schedule {name!r} with {options} gives rates that are below 0 or not finite.")
    return schedule


def options_of(name: str) -> dict[str, Any]:
    """Return the options that a recipe can set of a registered schedule, with their defaults."""
    entry = SCHEDULES.find(name)
    own, moving, common = _options(entry)
    functions = [function for function in (entry.factory, momentum_of(entry)) if function is not None]
    signatures = [inspect.signature(function).parameters for function in functions]
    found = {option: each[option].default for option in (*own, *moving) for each in signatures if option in each}
    return found | ({"cycle_momentum": False} if moving else {}) | common


def _options(entry: Entry) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return the options of a schedule's own, those of its momentum, and the common ones with their defaults."""
    derived = {"total_steps", "base_lr", "epochs", "scores"}
    own = [name for name in list(inspect.signature(entry.factory).parameters)[1:] if name not in derived]
    common: dict[str, Any] = {"start": 0, "ahead": 0, "by": entry.facts["unit"]}
    if "warmup_epochs" not in own:
        common |= {"warmup_epochs": 0, "warmup_factor": 0.01}
    moving: list[str] = []
    cycled = momentum_of(entry)
    if cycled is not None:
        parameters = list(inspect.signature(cycled).parameters)[1:]
        moving = ["cycle_momentum", *(name for name in parameters if name not in derived and name not in own)]
    return own, moving, common


def momentum_of(entry: Entry) -> Callable[..., float] | None:
    """Return the function that cycles the momentum of a schedule; None for those without one."""
    target = entry.facts["momentum"]
    return Entry(entry.name, target, "").factory if target else None


def _compose(
    entry: Entry, given: Mapping[str, Any], common: Mapping[str, Any], base_lr: float, epochs: int, steps: int
) -> Schedule:
    """Put delay, flooring and warm-up around a curve."""
    shared = {name: given.get(name, default) for name, default in common.items()}
    start, ahead, whole = shared["start"], shared["ahead"], shared["by"] == "epoch"
    rise, low = shared.get("warmup_epochs", 0), shared.get("warmup_factor", 1.0)
    if shared["by"] not in ("epoch", "step"):
        raise UserError(f"by={shared['by']!r} must be 'epoch' or 'step'.{nearest(shared['by'], ('epoch', 'step'))}")
    if not 0 <= start < epochs:
        raise UserError(f"start={start} must be at least 0 and less than the {epochs} epochs of the training.")
    if not 0 <= ahead <= epochs:
        raise UserError(f"ahead={ahead} must be at least 0 and at most the {epochs} epochs of the training.")
    derived = {"total_steps": (epochs - start) * steps, "base_lr": base_lr, "epochs": epochs - start}
    curve = _bound(entry.factory, {**derived, **given})
    scale = steps if entry.facts["unit"] == "step" else 1

    def place(position: float) -> float:
        return max(0, at(position) - start) * scale

    def at(position: float) -> float:
        return (math.floor(position) if whole else position) + ahead

    def factor(position: float, scores: Scores) -> float:
        warm = curves.linear_warmup(at(position), low, rise) if at(position) < rise else 1.0
        seen = ([(when - start, score) for when, score in scores if when > start],) if entry.facts["watches"] else ()
        return warm * curve(place(position), *seen)

    momentum = momentum_of(entry)
    if momentum is None or not given.get("cycle_momentum", False):
        return Schedule(factor, watches=entry.facts["watches"])
    cycled = _bound(momentum, {**derived, **given})
    return Schedule(factor, lambda position: cycled(place(position)), entry.facts["watches"])


def _bound(function: Callable[..., float], values: Mapping[str, Any]) -> Callable[..., float]:
    """Fix those of `values` that the function takes."""
    parameters = inspect.signature(function).parameters
    return partial(function, **{name: value for name, value in values.items() if name in parameters})


def annealed(schedule: Schedule, *, start: int, factor: float, epochs: int) -> Schedule:
    """Leave `schedule` at epoch `start`, go to the constant `factor` by a cosine over `epochs` whole epochs, and stay.

    Equals torch's SWALR where the rate was constant.
    """

    def changed(position: float, scores: Scores) -> float:
        if position < start:
            return schedule(position, scores)
        share = min(1.0, (math.floor(position) - start) / epochs) if epochs else 1.0
        return curves.half_cosine(schedule(start, scores), factor, share)

    return Schedule(changed, schedule.momentum, schedule.watches)


def schedule_of(spec: Mapping[str, Any], *, base_lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
    """Build the schedule of a recipe: a mapping of `name` (constant where it is missing) and options.

    Raises:
        UserError: as `build_schedule`, or an option that follows from the rest of the recipe.
    """
    options = plain(spec, "schedule")
    name = options.pop("name", "constant")
    for fixed, source in (("base_lr", "optimizer.lr"), ("epochs", "epochs"), ("steps_per_epoch", "the sampler")):
        if fixed in options:
            raise UserError(f"schedule {name!r}: {fixed} follows from the recipe ({source}); leave it out.")
    return build_schedule(name, base_lr=base_lr, epochs=epochs, steps_per_epoch=steps_per_epoch, **options)
