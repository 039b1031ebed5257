"""The learner, means, compilation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from training_cases import World, make_recipe, trained, weights_in

from reidlab.training import engine
from reidlab.training.engine import Means


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
    with pytest.warns(UserWarning, match=r"compile: true is ignored.*C\+\+ compiler"):
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
