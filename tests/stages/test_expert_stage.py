"""Notebook 14: mixtures beside each expert alone, and whom their gates send where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_stages import make_people, prepared

from reidlab import stages
from reidlab.errors import UserError
from reidlab.params import Experts
from reidlab.stages.experts import expert_recipe
from reidlab.store.runs import list_runs
from reidlab.training.recipes import load_recipe

SMALL = """
precision: float32
base: experts_demo
source: for tests
expected: nothing
model: {common_dim: 8, height: 32, width: 16}
sampler: {identities: 3, images: 2}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def parameters(small: Path, **changes: Any) -> Experts:
    given = {"recipe": str(small), "epochs": 1, "balances": [0.1], "top_k": [], "device": "cpu", **changes}
    return Experts.from_values(given)


def test_a_mixture_and_its_experts(tmp_path: Path, own_data: Path, small: Path) -> None:
    data = prepared(make_people(tmp_path / "people"), val_share=0.3)
    p = parameters(small)
    found = stages.experts_for(data, p)
    best, other, mixture = found.variants
    assert {best.label, other.label} == set(p.experts) and mixture.label == "mixture, balance 0.1"
    assert best.run.result["best_val_map"] >= other.run.result["best_val_map"]
    assert found.against == f"{best.label} alone" and list(found.scores["kind"]) == ["alone", "alone", "mixture"]
    assert len(found.against_each(found.experts)) == 2
    gates = found.gates[mixture.label]
    assert gates.shape == (len(found.people), 2) and np.allclose(gates.sum(1), 1, atol=1e-5)
    assert not found.people["pid"].isin([-1, "-1"]).any()
    by_camera = found.by("camid")
    assert list(by_camera.columns) == p.experts and set(by_camera.index) == set(found.people["camid"])
    first = found.people["camid"] == by_camera.index[0]
    np.testing.assert_allclose(by_camera.iloc[0], gates[first.to_numpy()].mean(0), rtol=1e-5)
    told = found.told()
    assert float(told["of the identity"].iloc[0]) <= float(told["of the image"].iloc[0]) <= 1
    typical = found.typical(count=2)
    assert list(typical) == p.experts and all(images.shape == (2, 32, 16, 3) for images in typical.values())
    again = stages.experts_for(data, p)
    assert not any(variant.run.made for variant in again.variants) and len(list_runs("training")) == 3
    np.testing.assert_array_equal(again.gates[mixture.label], gates)


def test_what_is_refused(tmp_path: Path, own_data: Path, small: Path) -> None:
    data = prepared(make_people(tmp_path / "people"))
    for changes, said in (
        ({"experts": ["test_resnet"]}, "at least two are needed"),
        ({"experts": ["test_resnet", "test_resnet"]}, "one stands there twice"),
        ({"experts": ["test_resnet", "custom_cnn_v32"]}, "backbone 'custom_cnn_v32'"),
        ({"balances": [0.1, 0.1]}, "balances.*twice"),
        ({"balances": [-0.1]}, "balances.*0 or more"),
        ({"top_k": [2]}, r"top_k=\[2\]: each must be 1 to 1"),
        ({"recipe": "demo"}, "takes model experts"),
    ):
        with pytest.raises(UserError, match=said):
            stages.experts_for(data, parameters(small, **changes))
    assert not list_runs("training")


def test_recipes_differ_in_their_experts_alone() -> None:
    base = load_recipe("experts_demo")
    rest = {"name", "model", "losses"}
    alone = expert_recipe(base, ("test_resnet",))
    assert alone.model == {
        "name": "test_resnet", "last_stride": 2, "neck": "bnneck", "classifier": "linear", "height": 64, "width": 32
    }  # fmt: skip
    assert [term.name for term in alone.losses] == ["cross_entropy", "triplet"]
    assert "last_stride" not in expert_recipe(base, ("osnet_x0_25",)).model
    three = expert_recipe(base, ("test_resnet", "resnet18", "osnet_x0_25"), balance=0.5, top_k=2)
    assert three.model == {**base.model, "experts": ["test_resnet", "resnet18", "osnet_x0_25"], "top_k": 2}
    assert {term.name: term.weight for term in three.losses} == {
        "cross_entropy": 1, "triplet": 1, "load_balance": 0.5
    }  # fmt: skip
    uneven = expert_recipe(base, ("test_resnet", "resnet18"), balance=0)
    assert [term.name for term in uneven.losses] == ["cross_entropy", "triplet"]
    assert [term.weight for term in expert_recipe(uneven, ("test_resnet", "resnet18"), balance=2).losses] == [1, 1, 2]
    assert expert_recipe(base, ("test_resnet", "resnet18")).losses == base.losses
    for made in (alone, three, uneven):
        assert made.model_dump(exclude=rest) == base.model_dump(exclude=rest)
