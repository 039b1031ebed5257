"""Necks: counts, what is frozen, and their values by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import count_parameters
from reidlab.models.parts.necks import NECKS, BNNeck, build_neck

BN = 2 * 512


def normed(features: Tensor, norm: Any) -> Tensor:
    mean, var = features.mean(0), features.var(0, unbiased=False)
    return (features - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize(
    "name, options, width, count, frozen",
    [
        ("none", {}, 2048, 0, 0),
        ("bnneck", {}, 2048, 4096, 2048),
        ("linear_bn", {}, 512, 2048 * 512 + BN, 512),
        ("linear_bn", {"width": 64, "freeze_bias": False}, 64, 2048 * 64 + 128, 0),
        ("landmarks", {}, 512, 2048 * 512 + 512 + BN + 1, 512),
        ("landmarks", {"freeze_bias": False}, 512, 2048 * 512 + 512 + BN + 1, 0),
        ("third_place_landmarks", {}, 512, 2048 * 512 + 512 + BN, 0),
        ("class_head", {}, 512, 2048 * 512 + 512 + BN, 0),
    ],
)
def test_widths_and_counts(name: str, options: dict[str, Any], width: int, count: int, frozen: int) -> None:
    assert NECKS[name].description
    neck = build_neck(name, 2048, **options)
    assert neck.dim == width
    assert count_parameters(neck) == count
    assert count_parameters(neck) - count_parameters(neck, trainable=True) == frozen
    assert neck(torch.randn(4, 2048)).shape == (4, width)


def test_no_neck_passes_on_the_same_tensor() -> None:
    features = torch.randn(3, 4)
    assert build_neck("none", 4)(features) is features


@pytest.mark.parametrize("name", [name for name in NECKS if name != "none"])
def test_by_hand(name: str) -> None:
    torch.manual_seed(0)
    options = {"bnneck": {}, "class_head": {"width": 3, "dropout": 0.0}}.get(name, {"width": 3})
    neck: Any = build_neck(name, 5, **options).double()
    for parameter in neck.parameters():
        if parameter.requires_grad:
            parameter.data.uniform_(0.2, 1.0)
    features = torch.randn(8, 5, dtype=torch.float64)
    if name == "bnneck":
        expected = normed(features, neck)
    else:
        expected = normed(F.linear(features, neck.linear.weight, neck.linear.bias), neck.norm)
    if name == "landmarks":
        expected = torch.where(expected > 0, expected, neck.activation.weight * expected)
    if name == "third_place_landmarks":
        expected = expected / (1 + torch.exp(-expected))
    if name == "class_head":
        expected = torch.where(expected > 0, expected, 0.1 * expected)
    torch.testing.assert_close(neck(features), expected)


def test_class_head_drops_while_training_and_starts_as_its_source() -> None:
    torch.manual_seed(0)
    neck: Any = build_neck("class_head", 256, width=400)
    assert neck.linear.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02), "Kaiming by fan_out"
    assert not neck.linear.bias.any()
    features = torch.randn(64, 256)
    assert (neck(features) == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (neck.eval()(features) != 0).all()


@pytest.mark.parametrize("name", ["bnneck", "linear_bn", "landmarks"])
def test_the_bias_stays_0(name: str) -> None:
    neck = build_neck(name, 4)
    (norm,) = [module for module in neck.modules() if isinstance(module, nn.BatchNorm1d)]
    assert torch.equal(norm.weight, torch.ones_like(norm.weight)) and norm.weight.requires_grad
    optimiser = torch.optim.SGD(neck.parameters(), lr=0.1, weight_decay=0.1)
    neck(torch.randn(8, 4)).square().sum().backward()
    optimiser.step()
    assert not norm.bias.any() and norm.bias.grad is None
    assert not torch.equal(norm.weight, torch.ones_like(norm.weight))


def test_evaluation_uses_the_running_statistics() -> None:
    neck: Any = build_neck("bnneck", 2)
    features = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    neck(features)
    assert neck.running_mean.tolist() == pytest.approx([0.2, 0.4])  # a tenth of the batch's
    expected = (features - neck.running_mean) / (neck.running_var + 1e-5).sqrt()
    torch.testing.assert_close(neck.eval()(features[:1]), expected[:1])


def test_state_is_that_of_a_plain_batch_norm() -> None:
    neck = BNNeck(3)
    neck.load_state_dict(nn.BatchNorm1d(3).state_dict())
    assert not neck.bias.requires_grad


@pytest.mark.parametrize(
    "name, dim, options, words",
    [
        ("bnnek", 4, {}, r"neck 'bnnek' is unknown; choose from none, bnneck.*Did you mean 'bnneck'\?"),
        ("bnneck", 0, {}, "neck 'bnneck': dim=0"),
        ("bnneck", 4, {"width": 8}, "neck 'bnneck' takes no options; it was given width"),
        ("linear_bn", 4, {"with": 8}, "no option 'with'; it has width, freeze_bias. Did you mean 'width'"),
        ("landmarks", 4, {"width": 0}, "width=0"),
        ("class_head", 4, {"dropout": 1.0}, r"dropout=1\.0 is outside \[0, 1\)"),
        ("landmarks", 4, {"freeze_bias": 1}, "freeze_bias=1 must be true or false"),
    ],
)
def test_refused(name: str, dim: int, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_neck(name, dim, **options)
