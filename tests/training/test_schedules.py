"""Schedules against exact published values and torch's own OneCycleLR."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from reidlab.errors import UserError
from reidlab.training.curves import one_cycle, one_cycle_momentum, plateau, warmup_cosine
from reidlab.training.schedules import SCHEDULES, Schedule, annealed, build_schedule, schedule_of


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
        ({"name": "constant", "gamma": 1}, "it has start, ahead, by, warmup_epochs, warmup_factor"),
        ({"name": "onecycle", "pct_start": 1.5}, "pct_start=1.5 must be between 0 and 1"),
        ({"name": "onecycle", "pct_start": "a third"}, "cannot use"),
        ({"name": "onecycle", "div_factor": 0}, "cannot use"),
        ({"name": "warmup_multistep", "steps": 40}, "cannot use"),
        ({"name": "warmup_multistep", "warmup_epochs": "ten"}, "cannot use"),
        (
            {"name": "warmup_multistep", "gamma": float("nan"), "steps": [0]},
            "`gamma` is nan, not a finite number",
        ),
        ({"name": "multistep", "gamma": -0.1, "steps": [3]}, "rates that are below 0 or not finite"),
        ({"name": "cosine", "ahead": np.float16(1)}, "`ahead` holds a float16"),
        ({"name": "cosine", "ahead": -1}, "ahead=-1 must be at least 0 and at most the 10 epochs"),
        ({"name": "cosine", "ahead": 11}, "ahead=11 must be at least 0"),
        ({"name": "cosine", "ahead": "one"}, "cannot use"),
        ({"name": "warmup_cosine", "epochs": 90}, r"epochs follows from the recipe \(epochs\); leave it out"),
        ({"name": "warmup_cosine", "base_lr": 1}, r"base_lr follows from the recipe \(optimizer.lr\)"),
        ({"pct_start": 0.3}, "schedule 'constant' has no option 'pct_start'"),
        ({1: 2}, "schedule: the name 1 must be text"),
        ({"name": "cosine", "star": 1}, "Did you mean 'start'"),
        ({"name": "cosine", "start": 10}, "start=10 must be at least 0 and less than the 10 epochs"),
        ({"name": "cosine", "start": -1}, "start=-1 must be"),
        ({"name": "cosine", "start": "late"}, "cannot use"),
        ({"name": "cosine", "warmup_epochs": "ten"}, "cannot use"),
        ({"name": "cosine", "by": "epochs"}, "by='epochs' must be 'epoch' or 'step'. Did you mean 'epoch'"),
        ({"name": "cosine", "epochs": 5}, "follows from the recipe"),
        ({"name": "poly", "power": "much"}, "cannot use"),
        ({"name": "multistep", "milestones": [3]}, "no option 'milestones'; it has steps, gamma"),
        ({"name": "plateau", "factor": 1.5}, "plateau factor=1.5 must be between 0 and 1"),
        ({"name": "plateau", "scores": []}, "no option 'scores'"),
        ({"name": "cosine", "cycle_momentum": True}, "no option 'cycle_momentum'"),
        ({"name": "onecycle", "cycle_momentum": True, "base_momentum": "low"}, "cannot use"),
        ({"name": "onecycle", "cycle_momentum": True, "max_momentum": 1.2}, "momentum outside 0 to 1"),
        ({"name": "onecycle", "base_momentum": 0.8}, "base_momentum does nothing without cycle_momentum: true"),
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


def torch_rates(make: Any, n: int, *, lr: float = 0.5) -> list[float]:
    """Step one of torch's schedulers and give the factors of the rate."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    theirs, factors = make(optimizer), []
    for _ in range(n):
        factors.append(optimizer.param_groups[0]["lr"] / lr)
        optimizer.step()
        theirs.step()
    return factors


def ours(name: str, n: int, **options: Any) -> list[float]:
    """Return our factors for n epochs of three steps, from a rate of 0.5."""
    schedule = build_schedule(name, base_lr=0.5, epochs=n, steps_per_epoch=3, **options)
    return [schedule(epoch) for epoch in range(n)]


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("multistep", {"steps": [3, 7], "gamma": 0.2}, lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 7], 0.2)),
        ("cosine", {}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 12)),
        ("cosine", {"eta_min": 0.01}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 12, eta_min=0.01)),
        ("poly", {"power": 2.0}, lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 12, power=2.0)),
        ("poly", {}, lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 12, power=0.9)),
    ],
)
def test_epoch_schedules_equal_torch(name: str, options: dict[str, Any], theirs: Any) -> None:
    assert ours(name, 12, **options) == pytest.approx(torch_rates(theirs, 12), rel=1e-9, abs=1e-12)


def test_beyond_the_end_the_last_rate_stays() -> None:
    schedule = build_schedule("cosine", base_lr=0.5, epochs=4, steps_per_epoch=2, eta_min=0.05)
    assert schedule(4) == schedule(9) == pytest.approx(0.1)
    assert build_schedule("poly", base_lr=1, epochs=4, steps_per_epoch=2)(9) == 0


def test_the_published_multistep_is_the_plain_one_with_a_warm_up() -> None:
    plain = ours("multistep", 100, steps=[40, 90], warmup_epochs=10, warmup_factor=0.01)
    assert plain == pytest.approx(ours("warmup_multistep", 100), rel=1e-12)


def test_any_schedule_warms_up_on_a_line() -> None:
    cold = build_schedule("constant", base_lr=1, epochs=8, steps_per_epoch=4, warmup_epochs=2, warmup_factor=0.2)
    assert [cold(p) for p in (0, 0.75, 1, 1.99, 2, 7)] == pytest.approx([0.2, 0.2, 0.6, 0.6, 1, 1])
    smooth = build_schedule(
        "constant", base_lr=1, epochs=8, steps_per_epoch=4, warmup_epochs=2.5, warmup_factor=0.2, by="step"
    )
    assert [smooth(p) for p in (0, 1.25, 2.25, 2.5, 7)] == pytest.approx([0.2, 0.6, 0.92, 1, 1])
    cosine = build_schedule("cosine", base_lr=1, epochs=8, steps_per_epoch=4)
    warm = build_schedule("cosine", base_lr=1, epochs=8, steps_per_epoch=4, warmup_epochs=2, warmup_factor=0.2)
    assert [warm(p) for p in range(8)] == pytest.approx([cosine(p) * w for p, w in zip(range(8), [0.2, 0.6, *[1] * 6])])


def test_a_delayed_schedule_still_ends_with_the_training() -> None:
    late = ours("cosine", 10, start=4, eta_min=0.05)
    assert late == pytest.approx([1.0] * 4 + ours("cosine", 6, eta_min=0.05))
    last = build_schedule("onecycle", base_lr=1, epochs=5, steps_per_epoch=3, start=2)(5 - 1 / 3)
    assert last == pytest.approx(1 / 25 / 1e4)
    assert ours("multistep", 8, steps=[2, 4], start=3) == pytest.approx([1] * 5 + [0.1] * 2 + [0.01])
    delayed = ours("warmup_multistep", 6, start=2, steps=[3], warmup_epochs=2, warmup_factor=0.5)
    assert delayed == pytest.approx([0.5, 0.5, 0.5, 0.75, 1, 0.1]), "its own warm-up is part of it"


def test_a_schedule_may_be_read_ahead() -> None:
    """The published trainer of Bag of Tricks calls scheduler.step() when an epoch begins, the first one too."""
    published = ours("warmup_multistep", 120, steps=[40, 70], ahead=1)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1)
    theirs = torch.optim.lr_scheduler.LambdaLR(
        optimizer, build_schedule("warmup_multistep", base_lr=1, epochs=120, steps_per_epoch=1, steps=[40, 70])
    )
    rates = []
    for _ in range(120):
        optimizer.step()
        theirs.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert published == pytest.approx(rates)
    assert published[0] == pytest.approx(0.109) and published[9] == published[38] == 1
    assert [published[i] for i in (39, 68, 69, 119)] == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert ours("constant", 4, warmup_epochs=2, warmup_factor=0.5, ahead=1) == pytest.approx([0.75, 1, 1, 1])
    ahead = build_schedule("onecycle", base_lr=1, epochs=5, steps_per_epoch=3, ahead=1)
    assert ahead(1.5) == build_schedule("onecycle", base_lr=1, epochs=5, steps_per_epoch=3)(2.5)


@pytest.mark.parametrize("name", ["cosine", "poly", "warmup_cosine", "onecycle"])
def test_by_step_or_by_epoch(name: str) -> None:
    by_step = build_schedule(name, base_lr=1, epochs=60, steps_per_epoch=4, by="step")
    by_epoch = build_schedule(name, base_lr=1, epochs=60, steps_per_epoch=4, by="epoch")
    assert by_step(40.75) < by_step(40.25) < by_step(40) and by_epoch(40.75) == by_epoch(40) == by_step(40)


@pytest.mark.parametrize("adam", [False, True])
@pytest.mark.parametrize("options", [{}, {"pct_start": 0.15, "base_momentum": 0.8, "max_momentum": 0.9}])
def test_onecycle_cycles_momentum_as_torch_does(adam: bool, options: dict[str, Any]) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer: Any = torch.optim.Adam([weight], lr=1.0) if adam else torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=40, **options)
    schedule = build_schedule("onecycle", base_lr=1, epochs=8, steps_per_epoch=5, cycle_momentum=True, **options)
    assert schedule.momentum is not None
    for step in range(40):
        group = optimizer.param_groups[0]
        momentum = group["betas"][0] if adam else group["momentum"]
        assert schedule.momentum(step / 5) == pytest.approx(momentum, rel=1e-9), step
        assert one_cycle_momentum(step, total_steps=40, **options) == pytest.approx(momentum, rel=1e-9)
        assert schedule(step / 5) == pytest.approx(group["lr"], rel=1e-7)
        optimizer.step()
        if step < 39:
            theirs.step()


def test_momentum_is_left_alone_unless_told() -> None:
    assert build_schedule("onecycle", base_lr=1, epochs=8, steps_per_epoch=5).momentum is None
    assert build_schedule("onecycle", base_lr=1, epochs=8, steps_per_epoch=5, cycle_momentum=False).momentum is None
    assert build_schedule("cosine", base_lr=1, epochs=8, steps_per_epoch=5).momentum is None


MAPS = [0.1, 0.2, 0.2, 0.2, 0.19, 0.3, 0.30001, 0.3, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize("patience", [0, 1, 2, 4])
@pytest.mark.parametrize("factor", [0.1, 0.5])
def test_plateau_equals_torch(patience: int, factor: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor, patience, min_lr=1e-5)
    schedule = build_schedule(
        "plateau", base_lr=1e-2, epochs=99, steps_per_epoch=2, factor=factor, patience=patience, min_lr=1e-5
    )
    scores: list[tuple[float, float]] = []
    for i, score in enumerate(MAPS):
        theirs.step(score)
        scores.append((2 * i + 2, score))  # validated every second epoch
        assert schedule(2 * i + 2.5, scores) * 1e-2 == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), i
    assert schedule.watches and schedule(99, scores) < 1


def test_plateau_is_a_function_of_the_validations_before_the_place() -> None:
    """A resumed run knows more than the first one did at the same place only where that place is before the rest."""
    scores = [(i + 1, score) for i, score in enumerate(MAPS)]
    schedule = build_schedule("plateau", base_lr=1e-2, epochs=99, steps_per_epoch=2, patience=1)
    for epoch in range(len(MAPS)):
        assert schedule(epoch + 0.5, scores) == schedule(epoch, scores[:epoch])
    assert plateau(0, scores, base_lr=1) == 1 and schedule(50) == 1


def test_plateau_that_starts_late_does_not_count_what_was_before() -> None:
    late = build_schedule("plateau", base_lr=1, epochs=20, steps_per_epoch=2, patience=0, start=4)
    scores = [(i, 0.5) for i in range(1, 9)]
    assert [round(late(epoch, scores), 9) for epoch in range(4, 9)] == [1, 1, 0.1, 0.01, 0.001]
    warm = build_schedule("plateau", base_lr=1, epochs=20, steps_per_epoch=2, warmup_epochs=2)
    assert [warm(epoch) for epoch in (0, 1, 2)] == pytest.approx([0.01, 0.505, 1])


def test_plateau_leaves_a_rate_below_its_minimum() -> None:
    assert plateau(9, [(i, 0.5) for i in range(9)], base_lr=1e-3, patience=0, min_lr=1e-2) == 1


@pytest.mark.parametrize("anneal_epochs", [1, 4])
def test_annealed_equals_swalr(anneal_epochs: int) -> None:
    constant = build_schedule("constant", base_lr=0.5, epochs=12, steps_per_epoch=2)
    schedule = annealed(constant, start=0, factor=0.1, epochs=anneal_epochs)
    theirs = torch_rates(lambda o: torch.optim.swa_utils.SWALR(o, swa_lr=0.05, anneal_epochs=anneal_epochs), 9)
    assert [schedule(epoch) for epoch in range(9)] == pytest.approx(theirs, rel=1e-9)


def test_annealed_leaves_the_schedule_at_its_start() -> None:
    cosine = build_schedule("cosine", base_lr=0.5, epochs=12, steps_per_epoch=2)
    schedule = annealed(cosine, start=6, factor=2.0, epochs=2)
    assert [schedule(e) for e in range(6)] == [cosine(e) for e in range(6)]
    assert [schedule(e) for e in (6, 6.5, 7, 8, 11)] == pytest.approx([0.5, 0.5, 1.25, 2, 2])
    assert annealed(cosine, start=6, factor=2.0, epochs=0)(6) == 2
    watching = Schedule(lambda position, scores: float(len(scores)), watches=True)
    assert annealed(watching, start=2, factor=0.0, epochs=1).watches


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_entry_says_what_it_is(name: str) -> None:
    entry = SCHEDULES[name]
    assert (
        entry.facts["unit"] in ("epoch", "step") and len(entry.description) > 10 and not entry.description.endswith(".")
    )
