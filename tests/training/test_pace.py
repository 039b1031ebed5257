"""Images per second: medians, what is timed and what is not."""

from __future__ import annotations

import time

import pytest
import torch

from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models import build
from reidlab.training import load_recipe
from reidlab.training.pace import WARM_UP, embedding_pace, pace_of, training_pace
from reidlab.training.recipes import Recipe

CPU = plan("cpu", "float32")
SIZE = {"height": 32, "width": 16}


def test_the_median_of_the_runs_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 100, 200, 201, 300, 304, 400, 402])  # a run of 100 s to warm up, then 1, 4 and 2 s
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    ran: list[int] = []
    pace = pace_of(lambda: ran.append(1), 8, CPU, runs=3)
    assert WARM_UP == 1 and len(ran) == 4
    assert (pace.median, pace.slowest, pace.fastest) == (4, 2, 8)


@pytest.mark.parametrize(("images", "runs"), [(0, 1), (1, 0)])
def test_nothing_to_measure(images: int, runs: int) -> None:
    with pytest.raises(UserError, match="cannot be timed"):
        pace_of(lambda: None, images, CPU, runs=runs)


def test_embedding_changes_nothing() -> None:
    model = build({"name": "custom_cnn_v32", **SIZE}, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = []
    model.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_inference_mode_enabled())))
    pace = embedding_pace(model, torch.rand(4, 3, 32, 16), CPU, runs=2)
    assert 0 < pace.slowest <= pace.median <= pace.fastest
    assert modes == [(False, True)] * 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def plain(**more: object) -> Recipe:
    losses = [{"name": "cross_entropy", "feature": "logits"}, {"name": "triplet", "feature": "before"}]
    start = {"name": "x", "source": "", "expected": "", "losses": losses}
    return Recipe.model_validate({**start, "model": {"name": "custom_cnn_v32", **SIZE}, **more})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"freeze": {"epochs": 5, "modules": ["backbone"]}},
        {"accumulate": 4, "compile": True, "ema": {"decay": 0.5}},
        {"schedule": {"name": "onecycle"}, "epochs": 1},
        {"losses": [{"name": "kd", "feature": "logits"}, {"name": "relational_kd", "feature": "before"}]},
        {"losses": [{"name": "center", "feature": "before"}, {"name": "cross_entropy", "feature": "logits"}]},
    ],
)
def test_every_training_step_learns_with_every_module(more: dict[str, object]) -> None:
    recipe = plain(**more)
    model = build(recipe.model, 5)
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    steps: list[bool] = []
    model.register_forward_hook(lambda module, *_: steps.append(module.training))
    pace = training_pace(recipe, model, torch.rand(8, 3, 32, 16), CPU, num_classes=5, runs=2)
    assert 0 < pace.slowest <= pace.median <= pace.fastest
    assert steps[-3:] == [True] * 3 and len(steps) <= 4, "a step a run; a copy may show the size of its features"
    moved = [
        name for name, value in model.named_parameters() if name in before and not torch.equal(value, before[name])
    ]
    assert any("backbone" in name or "stage" in name for name in moved) and len(moved) > len(before) / 2


def test_a_margin_that_depends_on_the_classes() -> None:
    recipe = plain(model={"name": "osnet_x0_25", **SIZE, "neck": "bnneck", "classifier": "arcface_adaptive"})
    assert (
        training_pace(recipe, build(recipe.model, 5), torch.rand(8, 3, 32, 16), CPU, num_classes=5, runs=1).median > 0
    )


def test_given_triplets() -> None:
    recipe = load_recipe("custom_cnn_v32")
    model = build({**recipe.model, **SIZE})
    sizes: list[int] = []
    model.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    assert training_pace(recipe, model, torch.rand(8, 3, 32, 16), CPU, num_classes=5, runs=1).median > 0
    assert sizes == [6, 6], "whole triplets"
