"""Optimisers against torch's own; which parameter learns at which rate."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import nn

from reidlab.errors import UserError
from reidlab.models import build
from reidlab.training.objective import Objective
from reidlab.training.optimizers import (
    OPTIMIZERS,
    build_loss_optimizer,
    build_optimizer,
    describe_groups,
    set_rates,
)
from reidlab.training.recipes import LossTerm, OptimizerPart

SPEC = {"name": "custom_cnn_v32", "neck": "bnneck"}


class Tiny(nn.Module):
    """A backbone of a convolution and a norm, a new head of a linear layer and a frozen-bias neck."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 2)
        self.neck = nn.BatchNorm1d(2)
        self.neck.bias.requires_grad_(False)


def part(**options: Any) -> OptimizerPart:
    return OptimizerPart.model_validate(options)


def groups_of(model: nn.Module, **options: Any) -> dict[str, tuple[float, float, set[str]]]:
    """Return base rate, decay and members of every group by its name."""
    names = {p: name for name, p in model.named_parameters()}
    groups = build_optimizer(part(**options), model).param_groups
    return {g["name"]: (g["base_lr"], g["weight_decay"], {names[p] for p in g["params"]}) for g in groups}


KERNELS = {"backbone.0.weight", "head.weight"}
NORMS = {"backbone.1.weight", "neck.weight"}
BIASES = {"backbone.0.bias", "backbone.1.bias", "head.bias"}


def test_adamw_decays_matrices_and_kernels_alone() -> None:
    model = build(SPEC, 5)
    decayed, plain = build_optimizer(part(name="adamw", lr=2e-3, weight_decay=0.1), model).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1 and plain["weight_decay"] == 0
    assert decayed["base_lr"] == plain["base_lr"] == 2e-3
    assert all(p.dim() > 1 for p in decayed["params"])
    biases = {name for name, p in model.named_parameters() if name.endswith("bias") and p.requires_grad}
    assert biases <= {names[id(p)] for p in plain["params"]}
    ours = {id(p) for group in (decayed, plain) for p in group["params"]}
    assert ours == {id(p) for p in model.parameters() if p.requires_grad}, "every trainable one once, no frozen one"


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_adam_and_sgd_decay_everything_in_the_models_order(name: str, kind: type) -> None:
    model = build(SPEC)
    optimizer = build_optimizer(part(name=name, weight_decay=1e-4, momentum=0.8), model)
    (group,) = optimizer.param_groups
    assert type(optimizer) is kind and group["weight_decay"] == 1e-4 and group.get("momentum", 0.8) == 0.8
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert len(trainable) == len(group["params"]) and all(a is b for a, b in zip(trainable, group["params"]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_of_norms_and_biases_can_be_chosen(name: str) -> None:
    spared = groups_of(Tiny(), name=name, lr=1.0, weight_decay=0.1, decay_norms=False)
    assert spared == {"kernels": (1.0, 0.1, KERNELS), "norms, biases": (1.0, 0.0, NORMS | BIASES)}
    everything = groups_of(Tiny(), name=name, lr=1.0, weight_decay=0.1, decay_norms=True)
    assert everything == {"kernels, norms, biases": (1.0, 0.1, KERNELS | NORMS | BIASES)}


def test_rates_of_new_layers_and_biases_multiply() -> None:
    found = groups_of(
        Tiny(), name="sgd", lr=0.1, weight_decay=0.01, new_layers_factor=10, bias_factor=2, decay_norms=False
    )
    assert {name: members for name, (_, _, members) in found.items()} == {
        "backbone kernels": {"backbone.0.weight"},
        "new kernels": {"head.weight"},
        "backbone norms": {"backbone.1.weight"},
        "backbone biases": {"backbone.0.bias", "backbone.1.bias"},
        "new norms": {"neck.weight"},
        "new biases": {"head.bias"},
    }
    assert [round(rate, 9) for rate, _, _ in found.values()] == [0.1, 1.0, 0.1, 0.2, 1.0, 2.0]
    assert [decay for _, decay, _ in found.values()] == [0.01, 0.01, 0, 0, 0, 0]


def test_what_the_backbone_is_can_be_said() -> None:
    found = groups_of(Tiny(), name="sgd", lr=0.1, new_layers_factor=10, backbone=["backbone.0", "neck"])
    assert found["backbone kernels, backbone norms, backbone biases"][2] == {
        "backbone.0.weight", "backbone.0.bias", "neck.weight"
    }  # fmt: skip
    assert groups_of(Tiny(), backbone="head", new_layers_factor=2) == groups_of(
        Tiny(), backbone=["head"], new_layers_factor=2
    )
    with pytest.raises(
        UserError, match=r"optimizer.backbone: the model has no module 'backbon'; it has backbone, head"
    ):
        groups_of(Tiny(), new_layers_factor=10, backbone="backbon")
    with pytest.raises(UserError, match=r"no module 'backbone'; it has network, necks, classifiers"):
        groups_of(build(SPEC, 5), new_layers_factor=10)
    assert len(groups_of(build(SPEC, 5), backbone="nowhere")) == 1, "not asked for, not looked for"


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({"name": "sgd", "momentum": 0.0}, lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01)),
        (
            {"name": "sgd", "nesterov": True},
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        ),
        ({"name": "adam"}, lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.01)),
        ({"name": "adamw", "decay_norms": True}, lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.01)),
    ],
)
def test_steps_are_torchs(options: dict[str, Any], theirs: Any) -> None:
    weights = []
    for make in (
        lambda m: build_optimizer(part(lr=0.1, weight_decay=0.01, **options), m),
        lambda m: theirs(m.parameters()),
    ):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = make(model)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
        weights.append(model.weight.detach())
    assert torch.allclose(*weights, rtol=1e-5) and not torch.allclose(weights[0], nn.Linear(3, 2).weight)


def test_the_groups_are_described() -> None:
    model = Tiny()
    described = describe_groups(
        build_optimizer(part(name="adamw", lr=0.5, weight_decay=0.1, bias_factor=2), model), None
    )
    assert described == [
        {"group": "kernels", "tensors": 2, "parameters": 108 + 8, "lr": 0.5, "weight_decay": 0.1},
        {"group": "norms", "tensors": 2, "parameters": 6, "lr": 0.5, "weight_decay": 0.0},
        {"group": "biases", "tensors": 3, "parameters": 10, "lr": 1.0, "weight_decay": 0.0},
    ]
    assert sum(row["parameters"] for row in described) == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_rates_and_momentum_are_set_in_every_group() -> None:
    for name in ("sgd", "adam"):
        optimizer = build_optimizer(part(name=name, lr=0.5, bias_factor=2), Tiny())
        set_rates(optimizer.param_groups, 0.1, None)
        assert [g["lr"] for g in optimizer.param_groups] == [0.05, 0.1]
        before = optimizer.param_groups[0].get("momentum", 0.9)
        assert before == 0.9
        set_rates(optimizer.param_groups, 0.1, 0.7)
        assert all(
            g.get("momentum", 0.7) == 0.7 and g.get("betas", (0.7, 0.999)) == (0.7, 0.999)
            for g in optimizer.param_groups
        )


def test_what_losses_learn_has_an_optimiser_of_its_own() -> None:
    terms = (
        LossTerm(name="cross_entropy", feature="logits"),
        LossTerm(name="center", feature="before", weight=5e-4, options={"num_classes": 3, "dim": 4}),
    )
    objective = Objective(terms)
    optimizer = build_loss_optimizer(part(), objective)
    assert optimizer is not None
    assert describe_groups(None, optimizer) == [
        {"group": "loss_center", "tensors": 1, "parameters": 12, "lr": 0.5, "weight_decay": 0}
    ]
    assert build_loss_optimizer(part(), Objective(terms[:1])) is None


def test_every_entry_can_be_named_in_a_recipe() -> None:
    assert set(OPTIMIZERS) == set(get_args(OptimizerPart.model_fields["name"].annotation))
    assert all(len(entry.description) > 3 for entry in OPTIMIZERS.values())
