"""Schedules against exact published values and torch's own OneCycleLR."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reidlab.errors import UserError
from reidlab.training.schedules import SCHEDULES, build_schedule, one_cycle, schedule_of, warmup_cosine


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(0, 0.01), (1, 0.109), (5, 0.505), (9, 0.901), (10, 1), (39, 1), (40, 0.1), (89, 0.1), (90, 0.01), (500, 0.01)],
)
def test_warmup_multistep_has_the_published_values(epoch: int, factor: float) -> None:
    schedule = build_schedule("warmup_multistep", base_lr=1, epochs=120, steps_per_epoch=7)
    assert schedule(epoch) == pytest.approx(factor, rel=1e-12)
    assert schedule(epoch + 0.99) == schedule(epoch), "stepped by whole epochs"


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [
        (10, 1),
        (30, 1),
        (31, 0.99969541),
        (60, 0.75000018),
        (75, 0.50000035),
        (90, 0.25000053),
        (119, 0.00030529),
        (120, 7e-7),
        (200, 7e-7),
    ],
)
def test_warmup_cosine_has_the_published_values(epoch: int, factor: float) -> None:
    schedule = build_schedule("warmup_cosine", base_lr=1, epochs=120, steps_per_epoch=3)
    assert schedule(epoch) == pytest.approx(factor, abs=5e-9)


def test_warmup_cosine_ends_at_a_rate_not_at_a_factor() -> None:
    assert warmup_cosine(120, base_lr=3.5e-4) * 3.5e-4 == pytest.approx(7e-7)
    assert warmup_cosine(0, base_lr=3.5e-4) == pytest.approx(0.01)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"pct_start": 0.05},
    {"pct_start": 0.5, "div_factor": 10.0},
    {"final_div_factor": 1e2},
]
# torch divides by zero where the rise is one step long, and where there is but one step
CASES = [(n, o) for n in (2, 3, 10, 37, 400) for o in OPTIONS if o.get("pct_start", 0.3) * n != 1]


@pytest.mark.parametrize(("total", "options"), CASES)
def test_onecycle_equals_torch(total: int, options: dict[str, Any]) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2.0, total_steps=total, **options)
    for step in range(total):
        ours = 2.0 * one_cycle(step, total_steps=total, **options)
        assert ours == pytest.approx(theirs.get_last_lr()[0], rel=1e-12, abs=1e-18), step
        optimizer.step()
        if step < total - 1:
            theirs.step()


def test_onecycle_by_epochs_meets_every_step() -> None:
    """The position (epoch + step / steps) is a float: no step may be off by more than rounding."""
    schedule = build_schedule("onecycle", base_lr=1, epochs=9, steps_per_epoch=7, pct_start=0.3)
    for epoch in range(9):
        for step in range(7):
            exact = one_cycle(epoch * 7 + step, total_steps=63, pct_start=0.3)
            assert schedule(epoch + step / 7) == pytest.approx(exact, rel=1e-9)


def test_onecycle_beyond_its_end_stays_at_the_end() -> None:
    """Epochs of a PK sampler differ in length, so the last position may lie a little behind the nominal end."""
    assert one_cycle(10.5, total_steps=10) == one_cycle(9, total_steps=10) == pytest.approx(1 / 25 / 1e4)


def test_constant() -> None:
    assert [build_schedule("constant", base_lr=1, epochs=2, steps_per_epoch=2)(p) for p in (0, 1.5, 99)] == [1, 1, 1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_a_positive_share_of_the_base_rate(name: str) -> None:
    schedule = build_schedule(name, base_lr=1e-3, epochs=50, steps_per_epoch=4)
    assert all(0 < schedule(i / 4) <= 1 + 1e-12 for i in range(200))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "one_cycle"}, r"'one_cycle' is unknown; choose from onecycle, .*Did you mean 'onecycle'"),
        ({"name": ["onecycle"]}, "is unknown"),
        (
            {"name": "onecycle", "pct": 0.2},
            r"has no option 'pct'; it has pct_start, div_factor.*Did you mean 'pct_start'",
        ),
        ({"name": "onecycle", "total_steps": 5}, "has no option 'total_steps'"),
        ({"name": "constant", "gamma": 1}, "it has none"),
        ({"name": "onecycle", "pct_start": 1.5}, "pct_start=1.5 must be between 0 and 1"),
        ({"name": "onecycle", "pct_start": "a third"}, "cannot use"),
        ({"name": "onecycle", "div_factor": 0}, "cannot use"),
        ({"name": "warmup_multistep", "steps": 40}, "cannot use"),
        ({"name": "warmup_multistep", "warmup_epochs": "ten"}, "cannot use"),
        ({"name": "warmup_multistep", "gamma": float("nan"), "steps": [0]}, "not finite"),
        ({"name": "warmup_cosine", "epochs": 90}, r"epochs follows from the recipe \(epochs\); leave it out"),
        ({"name": "warmup_cosine", "base_lr": 1}, r"base_lr follows from the recipe \(optimizer.lr\)"),
        ({"pct_start": 0.3}, "schedule 'constant' has no option 'pct_start'"),
        ({1: 2}, "has no option '1'"),
    ],
)
def test_mistakes_are_named(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        schedule_of(spec, base_lr=1e-3, epochs=10, steps_per_epoch=3)


def test_steps_may_be_a_list_as_in_yaml() -> None:
    schedule = schedule_of(
        {"name": "warmup_multistep", "steps": [2, 3], "warmup_epochs": 0}, base_lr=1, epochs=4, steps_per_epoch=1
    )
    assert [schedule(e) for e in range(4)] == pytest.approx([1, 1, 0.1, 0.01])
