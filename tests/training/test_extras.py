"""What recipes add to a plain training: momentum, plateau, frozen epochs, averages, centres, models that want labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_cases import LOOP, Weights, World, assert_same_run, make_recipe, same_weights, train, trained, weights_in

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models import Output
from reidlab.training.checkpoints import Checkpoints
from reidlab.training.engine import Learner


class Toy(nn.Module):
    """A convolution with a norm, dropout and a head that may want labels: trains in milliseconds."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.preprocess, self.dim = Preprocess(32, 16), 6
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 5, stride=4), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(6, num_classes)
        self.seen: list[Tensor | None] = []

    def forward(self, images: Tensor) -> Output | Tensor:
        features = self.backbone(images).mean((2, 3))
        return Output(features, features, (self.head(features),)) if self.training else features


class Margin(Toy):
    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output | Tensor:
        if self.training:
            self.seen.append(labels)
        return super().forward(images)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> list[Toy]:
    """Let recipes build toys; the list keeps them."""
    made: list[Toy] = []

    def build(spec: dict[str, Any], num_classes: int) -> Toy:
        made.append((Margin if spec["name"] == "margin" else Toy)(num_classes))
        return made[-1]

    monkeypatch.setattr(LOOP, "build", build)
    return made


def toy_recipe(name: str = "toy", **changes: Any) -> Any:
    recipe = make_recipe(**{"epochs": 3, "validate_every": 1, **changes})
    losses = changes.get("losses", [{"name": "cross_entropy", "feature": "logits"}])
    return type(recipe).model_validate({**recipe.model_dump(mode="json"), "model": {"name": name}, "losses": losses})


@pytest.mark.parametrize("accumulate", [1, 2])
def test_models_that_want_labels_get_them(world: World, tmp_path: Path, toys: list[Toy], accumulate: int) -> None:
    trained(world, tmp_path, toy_recipe("margin", epochs=1, accumulate=accumulate))
    (model,) = toys
    assert len(model.seen) in (4, 5, 6) and all(labels is not None and labels.shape == (16,) for labels in model.seen)
    assert all(labels is not None and 0 <= int(labels.min()) <= int(labels.max()) < 8 for labels in model.seen)


def test_others_do_not(world: World, tmp_path: Path, toys: list[Toy]) -> None:
    assert trained(world, tmp_path, toy_recipe(epochs=1)).summary["num_classes"] == 8 and len(toys) == 1


def watch_groups(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Note rate and momentum of the first group at every step."""
    seen: list[dict[str, float]] = []
    real = Learner._step_losses

    def note(self: Learner) -> None:
        group = self.optimizer.param_groups[0]
        seen.append({"lr": group["lr"], "momentum": group.get("momentum", group.get("betas", (None,))[0])})
        real(self)

    monkeypatch.setattr(Learner, "_step_losses", note)
    return seen


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_onecycle_moves_the_momentum_where_told(
    world: World, tmp_path: Path, toys: list[Toy], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen = watch_groups(monkeypatch)
    options = {"name": name, "lr": 0.1}
    trained(world, tmp_path / "a", toy_recipe(optimizer=options, schedule={"name": "onecycle", "cycle_momentum": True}))
    momenta, rates = [s["momentum"] for s in seen], [s["lr"] for s in seen]
    assert momenta[0] == pytest.approx(0.95) and min(momenta) == pytest.approx(0.85, abs=0.01)
    assert momenta.index(min(momenta)) == rates.index(max(rates))
    seen.clear()
    trained(world, tmp_path / "b", toy_recipe(optimizer=options, schedule={"name": "onecycle"}))
    assert {s["momentum"] for s in seen} == {0.9}


def script(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[dict[str, Tensor]]:
    """Let validation give these scores; the weights that it is shown are kept."""
    shown: list[dict[str, Tensor]] = []

    def validate(model: nn.Module) -> dict[str, float]:
        shown.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"val_map": scores[len(shown) - 1]}

    monkeypatch.setattr(LOOP, "make_validator", lambda *_, **__: validate)
    return shown


def test_plateau_follows_the_validations(
    world: World, tmp_path: Path, toys: list[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [0.3, 0.2, 0.2, 0.4, 0.1, 0.1])
    schedule = {"name": "plateau", "patience": 0, "factor": 0.5}
    run = trained(world, tmp_path, toy_recipe(epochs=6, schedule=schedule, optimizer={"lr": 0.08}))
    assert run.history["lr"].tolist() == pytest.approx([0.08, 0.08, 0.04, 0.02, 0.02, 0.01])


def test_plateau_without_validation_is_refused(world: World, tmp_path: Path, toys: list[Toy]) -> None:
    blind = world.changed(split=world.table["split"].replace("val", "gallery"))
    with pytest.raises(UserError, match=r"schedule 'plateau' follows the validation mAP.*hold out identities"):
        train(blind, tmp_path, toy_recipe(schedule={"name": "plateau"}))


def test_a_frozen_backbone_learns_later(
    world: World, tmp_path: Path, toys: list[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = script(monkeypatch, [0.1, 0.2, 0.3, 0.4])
    trained(world, tmp_path, toy_recipe(epochs=4, freeze={"epochs": 2}))
    first, second, third, last = shown

    def same(a: dict[str, Tensor], b: dict[str, Tensor], prefix: str) -> list[bool]:
        return [torch.equal(a[name], b[name]) for name in a if name.startswith(prefix)]

    assert all(same(first, second, "backbone")) and not any(same(first, second, "head"))
    assert not any(same(second, third, "backbone")) and not any(same(third, last, "backbone"))


def test_the_average_is_what_is_validated_and_saved(
    world: World, tmp_path: Path, toys: list[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = script(monkeypatch, [0.1, 0.5, 0.2])
    recipe = toy_recipe(ema={"decay": 0.9, "warmup": False})
    assert trained(world, tmp_path / "ema", recipe).best_epoch == 2
    assert same_weights(weights_in(tmp_path / "ema"), shown[1])
    assert not same_weights(shown[2], dict(toys[-1].state_dict()))
    averaged = list(shown)
    shown.clear()
    trained(world, tmp_path / "plain", toy_recipe())
    assert not same_weights(averaged[0], shown[0]), "the average lags behind"
    shown.clear()
    trained(world, tmp_path / "swa", toy_recipe(swa={"start": 1}))
    raw = shown[0]
    assert not torch.equal(raw["head.weight"], shown[1]["head.weight"])
    statistics = shown[2]["backbone.1.num_batches_tracked"]
    assert int(statistics) < int(shown[0]["backbone.1.num_batches_tracked"]) + 12, "counted anew, over one epoch"


def test_swa_rate(world: World, tmp_path: Path, toys: list[Toy]) -> None:
    changes = {"swa": {"start": 1, "lr": 0.5, "anneal_epochs": 1}, "schedule": {"name": "constant"}}
    run = trained(world, tmp_path, toy_recipe(**changes, optimizer={"lr": 0.1}))
    assert run.history["lr"].tolist() == pytest.approx([0.1, 0.1, 0.5])


def test_averages_and_statistics_change_nothing_of_the_training(
    world: World, tmp_path: Path, toys: list[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is trained is the same to the bit; only what is shown differs."""
    script(monkeypatch, [0.1, 0.2, 0.3] * 4)
    ends, losses = [], []
    for i, extra in enumerate(({}, {"ema": {}}, {"swa": {"start": 1}}, {"precise_bn": 2})):
        kept: dict[str, Tensor] = {}
        real = Checkpoints.save

        def save(
            self: Checkpoints, done: int, model: nn.Module, *rest: Any, kept: Any = kept, real: Any = real
        ) -> None:
            kept.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
            real(self, done, model, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save", save)
            losses.append(trained(world, tmp_path / str(i), toy_recipe(**extra)).history["loss"].tolist())
        ends.append(kept)
        script(monkeypatch, [0.1, 0.2, 0.3])
    assert all(same_weights(ends[0], end) for end in ends[1:]) and losses.count(losses[0]) == 4


def test_precise_statistics_are_saved(world: World, tmp_path: Path, toys: list[Toy]) -> None:
    blind = world.changed(split=world.table["split"].replace("val", "gallery"))
    plain = weights_in(trained(blind, tmp_path / "a", toy_recipe()).folder)
    precise = weights_in(trained(blind, tmp_path / "b", toy_recipe(precise_bn=2)).folder)
    assert torch.equal(plain["head.weight"], precise["head.weight"])
    assert not torch.equal(plain["backbone.1.running_mean"], precise["backbone.1.running_mean"])
    assert int(precise["backbone.1.num_batches_tracked"]) == 2
    frozen = weights_in(trained(blind, tmp_path / "c", toy_recipe(precise_bn=2, freeze={"epochs": 9})).folder)
    assert int(frozen["backbone.1.num_batches_tracked"]) == 0, "pretrained statistics stay with a frozen backbone"


CENTER = [
    {"name": "cross_entropy", "feature": "logits"},
    {"name": "center", "feature": "before", "weight": 5e-4},
]


def test_centres_move_at_their_own_rate(
    world: World, tmp_path: Path, toys: list[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of plain SGD on the un-weighted loss: the weight in the sum does not slow the centres."""
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    real = Learner._step_losses

    def watch(self: Learner) -> None:
        (centers,) = self.objective.losses[1].parameters()
        before, gradient = centers.detach().clone(), centers.grad.clone()  # type: ignore[union-attr]
        real(self)
        steps.append((before, gradient, centers.detach().clone()))
        assert centers.grad is None

    monkeypatch.setattr(Learner, "_step_losses", watch)
    run = trained(world, tmp_path, toy_recipe(epochs=1, losses=CENTER, optimizer={"loss_lr": 0.25}, clip_norm=1e-3))
    for before, gradient, after in steps:
        torch.testing.assert_close(after, before - 0.25 * gradient / 5e-4)
    assert len(steps) >= 5 and not torch.equal(steps[0][0], steps[-1][2])
    assert run.summary["parameter_groups"][-1] == "loss_center: 1 tensors, 48 parameters, rate 0.25, decay 0"
    assert not any("center" in name for name in weights_in(tmp_path)), "centres are left behind with the classifiers"


def test_the_groups_are_in_the_summary(world: World, tmp_path: Path, toys: list[Toy]) -> None:
    options = {"name": "adamw", "lr": 1e-3, "new_layers_factor": 10}
    groups = trained(world, tmp_path, toy_recipe(epochs=1, optimizer=options)).summary["parameter_groups"]
    assert groups == [
        "backbone kernels: 1 tensors, 450 parameters, rate 0.001, decay 0.02",
        "new kernels: 1 tensors, 48 parameters, rate 0.01, decay 0.02",
        "backbone norms, backbone biases: 3 tensors, 18 parameters, rate 0.001, decay 0",
        "new biases: 1 tensors, 8 parameters, rate 0.01, decay 0",
    ]


RESUMED: dict[str, dict[str, Any]] = {
    "ema": {"ema": {"decay": 0.9}, "precise_bn": 2, "losses": CENTER, "clip_norm": 0.1},
    "swa": {
        "swa": {"start": 1, "lr": 0.01, "anneal_epochs": 2},
        "optimizer": {"name": "sgd", "nesterov": True},
        "schedule": {"name": "onecycle", "cycle_momentum": True},
    },
    "frozen": {
        "freeze": {"epochs": 2},
        "schedule": {"name": "plateau", "patience": 0, "warmup_epochs": 2},
        "optimizer": {"new_layers_factor": 5, "bias_factor": 2},
        "accumulate": 2,
        "precise_bn": 1,
    },
}


@pytest.fixture(scope="module")
def plain_weights(world: World, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LOOP, "build", lambda spec, num_classes: Toy(num_classes))
        return weights_in(trained(world, tmp_path_factory.mktemp("plain"), toy_recipe(epochs=4), seed=3).folder)


@pytest.mark.parametrize("variant", RESUMED)
def test_every_extra_resumes_to_the_bit(
    world: World, tmp_path: Path, toys: list[Toy], plain_weights: Weights, variant: str
) -> None:
    recipe = toy_recipe(epochs=4, **RESUMED[variant])
    whole = trained(world, tmp_path / "whole", recipe, seed=3)
    for stop in (1, 2):
        assert train(world, tmp_path / "stopped", recipe, seed=3, stop_after=stop) is None
        torch.rand(7)
    assert_same_run(trained(world, tmp_path / "stopped", recipe, seed=3), whole)
    assert not same_weights(plain_weights, weights_in(whole.folder)), "the extra did something"


@pytest.mark.parametrize("variant", ["swa", "ema"])
def test_killed_while_finishing_without_validation(
    world: World, tmp_path: Path, toys: list[Toy], monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """What is saved is made anew from the last checkpoint: averages, statistics and all."""
    blind = world.changed(split=world.table["split"].replace("val", "gallery"))
    recipe = toy_recipe(**RESUMED[variant])
    whole = trained(blind, tmp_path / "whole", recipe)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LOOP, "save_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(blind, tmp_path / "killed", recipe)
    assert_same_run(trained(blind, tmp_path / "killed", recipe), whole)


def test_a_checkpoint_from_before_an_option_existed_goes_on(world: World, tmp_path: Path, toys: list[Toy]) -> None:
    whole = trained(world, tmp_path / "whole", toy_recipe())
    assert train(world, tmp_path / "old", toy_recipe(), stop_after=1) is None
    (progress,) = (tmp_path / "old" / "checkpoints").glob("epoch-*/progress.json")
    content = json.loads(progress.read_text())
    for name in ("freeze", "ema", "swa", "precise_bn"):
        del content["recipe"][name]
    for name in ("nesterov", "new_layers_factor", "backbone", "bias_factor", "decay_norms", "loss_lr"):
        del content["recipe"]["optimizer"][name]
    progress.write_text(json.dumps(content))
    with pytest.raises(UserError, match="holds a training with another recipe; choose"):
        train(world, tmp_path / "old", toy_recipe(ema={}))
    assert_same_run(trained(world, tmp_path / "old", toy_recipe()), whole)
