"""Learning rates as pure functions of the place in training: each gives a factor of the base rate.

Positions are in epochs, or in steps where the argument says so; a position beyond the end gives the last factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from reidlab.errors import UserError

__all__ = [
    "Scores",
    "constant",
    "cosine",
    "half_cosine",
    "linear_warmup",
    "multistep",
    "one_cycle",
    "one_cycle_momentum",
    "plateau",
    "poly",
    "warmup_cosine",
    "warmup_multistep",
]

Scores = Sequence[tuple[float, float]]  # (epochs done, validation mAP), in order
_EPS = 1e-8  # torch's ReduceLROnPlateau leaves a rate alone that would fall by less


def half_cosine(start: float, end: float, share: float) -> float:
    """Go from `start` to `end` by half a cosine; `share` of the way, 0 to 1."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _cycle(step: float, total_steps: int, pct_start: float, first: float, middle: float, last: float) -> float:
    """Go by half a cosine from `first` to `middle`, then by another to `last`."""
    if not 0 <= pct_start <= 1:
        raise UserError(f"onecycle pct_start={pct_start} must be between 0 and 1.")
    top = pct_start * total_steps - 1
    end = total_steps - 1
    if step <= top:
        return half_cosine(first, middle, step / top if top > 0 else 1.0)
    return half_cosine(middle, last, min(1.0, (step - top) / (end - top) if end > top else 1.0))


def one_cycle(
    step: float, *, total_steps: int, pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> float:
    """OneCycle with cosine annealing (Smith and Topin 2018) as a factor of the maximal rate; equals torch's OneCycleLR.

    Args:
        step: 0 to total_steps - 1; fractions are between steps.
        total_steps: steps of the whole training.
        pct_start: share of steps that rise, 0 to 1.
        div_factor: the first factor is 1 / div_factor.
        final_div_factor: the last is 1 / (div_factor * final_div_factor).
    """
    return _cycle(step, total_steps, pct_start, 1 / div_factor, 1.0, 1 / (div_factor * final_div_factor))


def one_cycle_momentum(
    step: float, *, total_steps: int, pct_start: float = 0.3, base_momentum: float = 0.85, max_momentum: float = 0.95
) -> float:
    """The momentum (or Adam's beta1) that torch's OneCycleLR sets: lowest where the rate is highest.

    Args:
        step, total_steps, pct_start: as `one_cycle` takes them.
        base_momentum: the lowest momentum, or beta1, with cycle_momentum.
        max_momentum: the highest one, at both ends.
    """
    return _cycle(step, total_steps, pct_start, max_momentum, base_momentum, max_momentum)


def linear_warmup(epoch: float, factor: float, epochs: float) -> float:
    """Rise on a line from `factor` at epoch 0 to 1 at `epochs`."""
    share = epoch / epochs
    return factor * (1 - share) + share


def multistep(epoch: float, *, steps: tuple[int, ...] = (40, 70), gamma: float = 0.1) -> float:
    """Times `gamma` at each of `steps`, in epochs; equals torch's MultiStepLR.

    Args:
        epoch: position.
        steps: epochs at which the rate falls.
        gamma: factor of each fall.
    """
    return gamma ** sum(epoch >= step for step in steps)


def warmup_multistep(
    epoch: float,
    *,
    steps: tuple[int, ...] = (40, 90),
    gamma: float = 0.1,
    warmup_factor: float = 0.01,
    warmup_epochs: int = 10,
) -> float:
    """Linear warm-up from `warmup_factor`, then times `gamma` at each of `steps` (the strong baselines' schedule).

    Args:
        epoch: position.
        steps: epochs at which the rate falls.
        gamma: factor of each fall.
        warmup_factor: where the warm-up begins.
        warmup_epochs: its length.
    """
    warm = linear_warmup(epoch, warmup_factor, warmup_epochs) if epoch < warmup_epochs else 1.0
    return warm * multistep(epoch, steps=steps, gamma=gamma)


def cosine(epoch: float, *, base_lr: float, epochs: float, eta_min: float = 0.0) -> float:
    """Half a cosine from 1 to the rate `eta_min` at `epochs`, then flat (Loshchilov and Hutter 2017, no restarts).

    Args:
        epoch: position.
        base_lr: the rate that the result scales.
        epochs: where it ends.
        eta_min: the rate at the end, not a factor.
    """
    return half_cosine(1.0, eta_min / base_lr, min(1.0, epoch / epochs))


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
    """Linear warm-up, flat until `flat_until`, then cosine to the rate `eta_min` at `epochs` and flat again.

    Args:
        epoch: position.
        base_lr: the rate that the result scales.
        epochs: where the cosine ends.
        flat_until: epoch at which the cosine begins.
        eta_min: the rate at the end, not a factor.
        warmup_factor: where the warm-up begins.
        warmup_epochs: its length.
    """
    if epoch < warmup_epochs:
        return linear_warmup(epoch, warmup_factor, warmup_epochs)
    if epoch <= flat_until:
        return 1.0
    if epoch >= epochs:
        return eta_min / base_lr
    return half_cosine(1.0, eta_min / base_lr, (epoch - flat_until) / (epochs - flat_until))


def poly(epoch: float, *, epochs: float, power: float = 0.9) -> float:
    """(1 - epoch / epochs) ** power; equals torch's PolynomialLR.

    Args:
        epoch: position.
        epochs: where it ends.
        power: 1 is a straight line; below 1 the rate stays high for longer.
    """
    return (1 - min(1.0, epoch / epochs)) ** power


def plateau(
    epoch: float,
    scores: Scores = (),
    *,
    base_lr: float,
    factor: float = 0.1,
    patience: int = 10,
    min_lr: float = 1e-7,
    threshold: float = 1e-4,
) -> float:
    """Times `factor` after more than `patience` validations in a row without a better mAP, down to the rate `min_lr`.

    Equals torch's ReduceLROnPlateau (mode max, no cooldown), but is a function of the validations themselves.

    Args:
        epoch: position; scores of later epochs do not count.
        scores: (epochs done, mAP) of all validations, in order.
        base_lr: the rate that the result scales.
        factor: between 0 and 1.
        patience: validations, not epochs.
        min_lr: a rate below this is left as it is.
        threshold: share by which a score must exceed the best one to be better.
    """
    if not 0 < factor < 1:
        raise UserError(f"plateau factor={factor} must be between 0 and 1.")
    best, bad, rate = -math.inf, 0, base_lr
    for when, score in scores:
        if when > epoch:
            break
        better = score > best * (1 + threshold)
        best, bad = (score, 0) if better else (best, bad + 1)
        if bad > patience:
            lower = max(rate * factor, min_lr)
            rate, bad = (lower if rate - lower > _EPS else rate), 0
    return rate / base_lr


def constant(_position: float) -> float:
    """The base rate throughout."""
    return 1.0
