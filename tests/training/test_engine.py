"""Optimiser groups, means, compilation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from training_cases import World, make_recipe, trained, weights_in

from reidlab.models import build
from reidlab.training import engine
from reidlab.training.engine import Means, build_optimizer
from reidlab.training.recipes import OptimizerPart

SPEC = {"name": "custom_cnn_v32", "neck": "bnneck"}


def test_adamw_decays_matrices_and_kernels_alone() -> None:
    model = build(SPEC, 5)
    decayed, plain = build_optimizer(OptimizerPart(name="adamw", lr=2e-3, weight_decay=0.1), model).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1 and plain["weight_decay"] == 0
    assert decayed["base_lr"] == plain["base_lr"] == 2e-3
    assert all(p.dim() > 1 for p in decayed["params"])
    biases = {name for name, p in model.named_parameters() if name.endswith("bias") and p.requires_grad}
    assert biases <= {names[id(p)] for p in plain["params"]}
    ours = {id(p) for group in (decayed, plain) for p in group["params"]}
    assert ours == {id(p) for p in model.parameters() if p.requires_grad}, "every trainable one once, no frozen one"


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_adam_and_sgd_decay_everything(name: str, kind: type) -> None:
    model = build(SPEC)
    optimizer = build_optimizer(OptimizerPart(name=name, weight_decay=1e-4, momentum=0.8), model)  # type: ignore[arg-type]
    (group,) = optimizer.param_groups
    assert type(optimizer) is kind and group["weight_decay"] == 1e-4 and group.get("momentum", 0.8) == 0.8
    assert len(group["params"]) == sum(p.requires_grad for p in model.parameters())


def test_means() -> None:
    means = Means()
    for value in (1.0, 2.0, 6.0):
        means.add({"loss": torch.tensor(value), "pairs": torch.tensor(int(value))})
    assert means.means() == {"loss": 3.0, "pairs": 3.0} and means.short() == {"loss": "3.000"}


def test_where_compiling_does_not_work_training_goes_on(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(epochs=1)
    plain = trained(world, tmp_path / "plain", recipe)

    def broken(_: object) -> nn.Module:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(engine.torch, "compile", broken)
    engine._can_compile.cache_clear()
    with pytest.warns(UserWarning, match=r"compile: true is left out.*C\+\+ compiler"):
        run = trained(world, tmp_path / "c", recipe.model_copy(update={"compile": True}))
    engine._can_compile.cache_clear()
    assert all(torch.equal(a, weights_in(plain.folder)[name]) for name, a in weights_in(run.folder).items())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch's compiler warns of its own parts
def test_compiled_training(world: World, tmp_path: Path) -> None:
    engine._can_compile.cache_clear()
    if not engine._can_compile("cpu"):
        pytest.skip("torch.compile does not work here: on the CPU it needs a C++ compiler")
    recipe = make_recipe(epochs=1, model={"dropout": 0.0}, compile=True)
    run = trained(world, tmp_path / "compiled", recipe)
    plain = trained(world, tmp_path / "plain", recipe.model_copy(update={"compile": False}))
    assert run.history["loss"][0] == pytest.approx(plain.history["loss"][0], rel=0.05)
    assert set(weights_in(run.folder)) == set(weights_in(plain.folder)), "no prefix of the compiler in the names"
    run.load_model()
