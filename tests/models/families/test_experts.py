"""Mixture of experts: the published size, gates that sum to 1, routing to the best, each expert its own normalisation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from reidlab.errors import UserError
from reidlab.models import build, count_parameters

SIZE: dict[str, Any] = {"height": 64, "width": 32}


def small(num_classes: int = 0, **options: Any) -> Any:
    torch.manual_seed(0)
    spec = {"name": "experts", "experts": ["osnet_x0_25", "resnet18"], "common_dim": 16, **SIZE, **options}
    return build(spec, num_classes)


def test_published_size() -> None:
    model = build(
        {
            "name": "experts",
            "gate": "first",
            "height": 224,
            "width": 224,
            "classifier": {"name": "linear", "bias": True},
        },
        751,
    )
    assert count_parameters(model) == 111_135_793


def test_the_feature_is_the_mixture_by_hand() -> None:
    model = small(num_classes=5).train()
    images = torch.randn(4, 3, 64, 32)
    torch.manual_seed(1)
    output = model(images)
    torch.manual_seed(1)
    projected = [
        projection(pooling(expert(images)).flatten(1))  # both want the same normalisation
        for expert, pooling, projection in zip(model.experts, model.poolings, model.projections)
    ]
    seen = [
        (each - each.mean(1, keepdim=True)) / (each.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        for each in projected
    ]
    gates = model.gate(torch.cat(seen, 1)).softmax(1)
    expected = gates[:, :1] * projected[0] + gates[:, 1:] * projected[1]
    torch.testing.assert_close(output.before, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(output.gates, gates, rtol=1e-3, atol=1e-4)
    assert output.logits[0].shape == (4, 5)


@pytest.mark.parametrize("top_k", [0, 1, 2])
def test_gates_sum_to_one(top_k: int) -> None:
    model = small(top_k=top_k).eval()
    images = torch.randn(5, 3, 64, 32)
    gates = model.gates(images)
    torch.testing.assert_close(gates.sum(1), torch.ones(5))
    assert ((gates > 0).sum(1) == (top_k or 2)).all()
    torch.testing.assert_close(model(images).norm(dim=1), torch.ones(5))


def test_the_published_gate_sees_the_first_expert_alone() -> None:
    model = small(gate="first").eval()
    images = torch.randn(2, 3, 64, 32)
    before = model.gates(images)
    torch.nn.init.zeros_(model.projections[1].weight)
    assert torch.equal(model.gates(images), before)
    both = small(gate="all").eval()
    before = both.gates(images)
    torch.nn.init.zeros_(both.projections[1].weight)
    assert not torch.equal(both.gates(images), before)


def test_each_expert_gets_its_own_normalisation() -> None:
    model = small().eval()
    model.experts[1].preprocess_mean, model.experts[1].preprocess_std = (0.5, 0.5, 0.5), (0.5, 0.25, 0.5)
    seen: list[torch.Tensor] = []
    model.experts[1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    raw = torch.randint(0, 256, (2, 3, 64, 32), dtype=torch.uint8)
    model(model.preprocess(raw))
    std = torch.tensor([0.5, 0.25, 0.5]).view(3, 1, 1)
    torch.testing.assert_close(seen[0], (raw.float() / 255 - 0.5) / std, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_expert() -> None:
    model = small().train()
    model(torch.randn(4, 3, 64, 32)).before.sum().backward()
    for expert in model.experts:
        assert any(p.grad is not None and p.grad.any() for p in expert.parameters())
    assert F.normalize(model.gate.weight.grad).any()


@pytest.mark.parametrize(
    "options, said",
    [
        ({"experts": ["resnet18"]}, "two backbones"),
        ({"experts": "resnet18"}, "experts"),
        ({"experts": ["resnet18", "resnett18"]}, "resnett18"),
        ({"weights": ["", "", ""]}, "3 weights for 2 experts"),
        ({"gate": "frist"}, "first"),
        ({"top_k": 3}, "top_k=3"),
        ({"common_dim": 0}, "common_dim=0"),
    ],
)
def test_impossible_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        small(**options)


def test_no_expert_drowns_the_gate() -> None:
    """Features a thousand times as large leave the gate open: it sees them normalised."""
    model = small().eval()
    images = torch.randn(4, 3, 64, 32)
    before = model.gates(images)
    with torch.no_grad():
        for parameter in model.projections[0].parameters():
            parameter.mul_(1000)
    torch.testing.assert_close(model.gates(images), before, rtol=1e-3, atol=1e-4)
