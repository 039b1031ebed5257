"""Learning-rate schedules as pure functions of the place in training, so that a resumed run needs no state.

A schedule maps a position to a factor of the base rate. Per-epoch schedules see the epoch; per-step ones the step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from reidlab.errors import UserError, nearest

__all__ = [
    "SCHEDULES",
    "build_schedule",
    "constant",
    "one_cycle",
    "schedule_of",
    "warmup_cosine",
    "warmup_multistep",
]

Schedule = Callable[[float], float]


def one_cycle(
    step: float,
    *,
    total_steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> float:
    """OneCycle with cosine annealing (Smith and Topin 2018) as a factor of the maximal rate; equals torch's OneCycleLR.

    Args:
        step: 0 to total_steps - 1; fractions are between steps.
        total_steps: steps of the whole training.
        pct_start: share of steps that rise, 0 to 1.
        div_factor: the first factor is 1 / div_factor.
        final_div_factor: the last is 1 / (div_factor * final_div_factor).
    """
    if not 0 <= pct_start <= 1:
        raise UserError(f"onecycle pct_start={pct_start} must be between 0 and 1.")
    top = pct_start * total_steps - 1
    end = total_steps - 1
    first, last = 1 / div_factor, 1 / (div_factor * final_div_factor)
    if step <= top:
        return _cosine(first, 1.0, step / top if top > 0 else 1.0)
    return _cosine(1.0, last, min(1.0, (step - top) / (end - top) if end > top else 1.0))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _linear_warmup(epoch: float, factor: float, epochs: int) -> float:
    share = epoch / epochs
    return factor * (1 - share) + share


def warmup_multistep(
    epoch: float,
    *,
    steps: tuple[int, ...] = (40, 90),
    gamma: float = 0.1,
    warmup_factor: float = 0.01,
    warmup_epochs: int = 10,
) -> float:
    """Linear warm-up from `warmup_factor`, then times `gamma` at each of `steps` (the strong baselines' schedule)."""
    warm = _linear_warmup(epoch, warmup_factor, warmup_epochs) if epoch < warmup_epochs else 1.0
    return warm * gamma ** sum(epoch >= step for step in steps)


def warmup_cosine(
    epoch: float,
    *,
    base_lr: float,
    epochs: int = 120,
    flat_until: int = 30,
    eta_min: float = 7e-7,
    warmup_factor: float = 0.01,
    warmup_epochs: int = 10,
) -> float:
    """Linear warm-up, flat until `flat_until`, then cosine to the rate `eta_min` at `epochs` and flat again."""
    if epoch < warmup_epochs:
        return _linear_warmup(epoch, warmup_factor, warmup_epochs)
    if epoch <= flat_until:
        return 1.0
    if epoch >= epochs:
        return eta_min / base_lr
    return _cosine(1.0, eta_min / base_lr, (epoch - flat_until) / (epochs - flat_until))


def constant(_position: float) -> float:
    """The base rate throughout."""
    return 1.0


SCHEDULES: dict[str, tuple[Callable[..., float], str]] = {
    "onecycle": (one_cycle, "step"),
    "warmup_multistep": (warmup_multistep, "epoch"),
    "warmup_cosine": (warmup_cosine, "epoch"),
    "constant": (constant, "epoch"),
}


def build_schedule(name: str, *, base_lr: float, epochs: int, steps_per_epoch: int, **options: Any) -> Schedule:
    """Build a schedule as a function of the position in epochs (2.5 is the middle of the third).

    Per-epoch schedules are floored to whole epochs, as their authors stepped them. For `onecycle` the base rate is the
    maximal one.

    Raises:
        UserError: unknown name or option, or a value that gives no rate.
    """
    if str(name) not in SCHEDULES:
        hint = nearest(name, SCHEDULES)
        raise UserError(f"schedule {name!r} is unknown; choose from {', '.join(SCHEDULES)}.{hint}")
    function, unit = SCHEDULES[name]
    derived: dict[str, dict[str, Any]] = {
        "onecycle": {"total_steps": epochs * steps_per_epoch},
        "warmup_cosine": {"base_lr": base_lr, "epochs": epochs},
    }
    given = derived.get(name, {})
    known = [option for option in list(inspect.signature(function).parameters)[1:] if option not in given]
    for option in options:
        if option not in known:
            hint = nearest(option, known)
            raise UserError(f"schedule {name!r} has no option {option!r}; it has {', '.join(known) or 'none'}.{hint}")
    ready = partial(function, **{**given, **options})
    last = epochs * steps_per_epoch - 1 if unit == "step" else epochs - 1
    try:
        usable = all(math.isfinite(ready(position)) for position in (0, last // 2, last))
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"schedule {name!r} cannot use {options} ({error}).") from error
    if not usable:
        raise UserError(f"schedule {name!r} with {options} gives rates that are not finite.")
    if unit == "step":
        return lambda position: ready(position * steps_per_epoch)
    return lambda position: ready(math.floor(position))


def schedule_of(spec: Mapping[str, Any], *, base_lr: float, epochs: int, steps_per_epoch: int) -> Schedule:
    """Build the schedule of a recipe: a mapping of `name` (constant where it is missing) and options.

    Raises:
        UserError: as `build_schedule`, or an option that follows from the rest of the recipe.
    """
    options = dict(spec)
    name = options.pop("name", "constant")
    for fixed, source in (("base_lr", "optimizer.lr"), ("epochs", "epochs"), ("steps_per_epoch", "the sampler")):
        if fixed in options:
            raise UserError(f"schedule {name!r}: {fixed} follows from the recipe ({source}); leave it out.")
    options = {str(option): value for option, value in options.items()}
    return build_schedule(name, base_lr=base_lr, epochs=epochs, steps_per_epoch=steps_per_epoch, **options)
