"""EMA, SWA and precise BN against plain loops; the trained model is never touched."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_cases import make_recipe

from reidlab.devices import plan
from reidlab.training.averaging import Averaging


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.BatchNorm1d(4, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.dropout(self.norm(self.linear(x))))


def walk(model: nn.Module, seed: int) -> None:
    """Move the weights, and the statistics with a batch; the seed decides dropout too."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
        model.train()(torch.randn(16, 3))


def averaging(model: nn.Module, **changes: Any) -> Averaging:
    return Averaging(make_recipe(**changes), model, plan("cpu", "float32"))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def model() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def test_nothing_asked_for_is_the_model_itself(model: Tiny) -> None:
    none = averaging(model)
    none.after_step(model)
    none.after_epoch(model, 0)
    assert none.shown(model, None, seed=0) is model and none.state_dict() == {}
    assert none.n_batches(7, frozen=False) == 0


@pytest.mark.parametrize("warmup", [False, True])
def test_ema_is_a_plain_loop(model: Tiny, warmup: bool) -> None:
    ema = averaging(model, ema={"decay": 0.9, "warmup": warmup})
    expected = state(model)
    for step in range(1, 40):
        walk(model, step)
        ema.after_step(model)
        decay = min(0.9, 1 - step ** (-2 / 3)) if warmup else 0.9
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor
            else:
                expected[name] = tensor.clone()
    shown = ema.shown(model, None, seed=0)
    assert shown is not model
    for name, tensor in shown.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(shown.state_dict()["linear.weight"], model.linear.weight)


def test_swa_is_the_mean_of_the_epochs_from_its_start(model: Tiny) -> None:
    swa = averaging(model, swa={"start": 2})
    kept = []
    for epoch in range(4):
        walk(model, epoch)
        swa.after_epoch(model, epoch)
        if epoch < 2:
            assert swa.shown(model, None, seed=0) is model and swa.n_batches(7, frozen=False) == 0
        else:
            kept.append(model.linear.weight.detach().clone())
    assert swa.n_batches(7, frozen=False) == 7, "an average of weights needs statistics of its own"
    assert swa.n_batches(7, frozen=True) == 0
    shown = swa.shown(model, [torch.randn(16, 3)], seed=0)
    torch.testing.assert_close(shown.linear.weight, torch.stack(kept).mean(0))  # type: ignore[union-attr]


def test_statistics_are_the_mean_over_the_batches(model: Tiny) -> None:
    precise = averaging(model, precise_bn=3)
    walk(model, 0)
    batches = [torch.randn(16, 3) * (i + 1) + i for i in range(3)]
    assert precise.n_batches(5, frozen=False) == 3 and precise.n_batches(2, frozen=False) == 2
    before = state(model)
    shown: Any = precise.shown(model, batches, seed=0)
    with torch.no_grad():
        inner = [model.linear(batch) for batch in batches]
    torch.testing.assert_close(shown.norm.running_mean, torch.stack([x.mean(0) for x in inner]).mean(0))
    torch.testing.assert_close(shown.norm.running_var, torch.stack([x.var(0) for x in inner]).mean(0))
    assert shown.norm.momentum == 0.1
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()), "a copy was changed"
    assert torch.equal(shown.linear.weight, model.linear.weight)
    again = precise.shown(model, batches, seed=0)
    assert torch.equal(again.out.running_mean, shown.out.running_mean)  # type: ignore[union-attr]


def test_the_passes_draw_from_their_own_seed(model: Tiny) -> None:
    precise = averaging(model, precise_bn=1)
    batch = [torch.randn(16, 3)]
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    first = precise.shown(model, batch, seed=1).out.running_var.clone()  # type: ignore[union-attr, operator]
    assert torch.equal(torch.get_rng_state(), expected)
    torch.rand(3)
    assert torch.equal(precise.shown(model, batch, seed=1).out.running_var, first)  # type: ignore[union-attr, arg-type]
    assert not torch.equal(precise.shown(model, batch, seed=2).out.running_var, first)  # type: ignore[union-attr, arg-type]


def test_precise_statistics_of_an_average_leave_it_alone(model: Tiny) -> None:
    ema = averaging(model, ema={"decay": 0.5}, precise_bn=1)
    walk(model, 0)
    ema.after_step(model)
    before = state(ema.ema.module)  # type: ignore[union-attr]
    shown = ema.shown(model, [torch.randn(16, 3)], seed=0)
    assert torch.equal(shown.linear.weight, before["linear.weight"])  # type: ignore[union-attr, arg-type]
    assert not torch.equal(shown.norm.running_mean, before["norm.running_mean"])  # type: ignore[union-attr, arg-type]
    assert all(torch.equal(before[n], t) for n, t in ema.ema.module.state_dict().items())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "changes", [{"ema": {"decay": 0.9}}, {"ema": {"decay": 0.9, "warmup": False}}, {"swa": {"start": 1}}]
)
def test_a_saved_average_goes_on_to_the_bit(model: Tiny, changes: dict[str, Any], tmp_path: Any) -> None:
    def go(average: Averaging, model: nn.Module, epochs: range) -> None:
        for epoch in epochs:
            walk(model, epoch)
            average.after_step(model)
            average.after_epoch(model, epoch)

    whole, half = copy.deepcopy(model), model
    one, two = averaging(whole, **changes), averaging(half, **changes)
    go(one, whole, range(6))
    go(two, half, range(3))
    torch.save(two.state_dict(), tmp_path / "state.pt")
    later = averaging(half, **changes)
    later.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    go(later, half, range(3, 6))
    expected = one.shown(whole, None, seed=0).state_dict()
    assert all(torch.equal(expected[n], t) for n, t in later.shown(half, None, seed=0).state_dict().items())
    assert not torch.equal(expected["linear.weight"], whole.linear.weight)


def test_without_batch_norms_nothing_is_recomputed() -> None:
    model = nn.Linear(3, 2)
    precise = averaging(model, precise_bn=1)
    assert torch.equal(precise.shown(model, [torch.ones(2, 3)], seed=0).weight, model.weight)  # type: ignore[arg-type]
