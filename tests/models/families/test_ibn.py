"""IBN-a: each half against its norm written out, and which norms of a ResNet it replaces."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from reidlab.errors import UserError
from reidlab.models.backbones import build_backbone
from reidlab.models.build import count_parameters
from reidlab.models.families.ibn import IBN, to_ibn_a


def test_each_half_has_its_norm() -> None:
    torch.manual_seed(0)
    norm = IBN(7).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    maps = torch.randn(4, 7, 3, 2, dtype=torch.double)
    found = norm.train()(maps)
    for channel in range(7):
        x = maps[:, channel]
        if channel < 3:  # an image by itself
            mean, variance = x.mean((1, 2), keepdim=True), x.var((1, 2), correction=0, keepdim=True)
            weight, bias = norm.IN.weight[channel], norm.IN.bias[channel]
        else:  # all images together
            mean, variance = x.mean(), x.var(correction=0)
            weight, bias = norm.BN.weight[channel - 3], norm.BN.bias[channel - 3]
        torch.testing.assert_close(found[:, channel], (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias)


def test_contrast_and_brightness_leave_the_instance_half_alone() -> None:
    norm = IBN(4).eval()
    maps = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain, brighter = norm(maps), norm(3 * maps + 5)
    torch.testing.assert_close(plain[:, :2], brighter[:, :2], rtol=1e-3, atol=1e-3)
    assert (plain[:, 2:] - brighter[:, 2:]).abs().min() > 1


def test_as_many_parameters_as_a_batch_norm() -> None:
    assert count_parameters(IBN(64)) == count_parameters(nn.BatchNorm2d(64)) == 128
    assert (IBN(65).IN.num_features, IBN(65).BN.num_features) == (32, 33)
    assert IBN(4).half().IN.weight.dtype == torch.float16  # casting goes through
    with pytest.raises(UserError, match="2 channels or more"):
        IBN(1)


def test_resnet50_ibn_a() -> None:
    network = build_backbone("resnet50_ibn_a").eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 32)).shape == (1, 2048, 4, 2)
    assert count_parameters(network) == 23_508_032
    norms = [name for name, module in network.named_modules() if isinstance(module, IBN)]
    blocks = {"layer1": 3, "layer2": 4, "layer3": 6}
    assert norms == [f"{stage}.{i}.bn1" for stage, count in blocks.items() for i in range(count)]
    assert isinstance(network.bn1, nn.BatchNorm2d) and isinstance(network.layer4[0].bn1, nn.BatchNorm2d)
    names = set(network.state_dict())  # as in the files of IBN-Net and fast-reid
    assert {
        "layer1.0.bn1.IN.weight",
        "layer1.0.bn1.BN.running_mean",
        "layer3.5.bn1.IN.bias",
        "layer4.0.bn1.weight",
    } <= names
    assert "layer1.0.bn1.weight" not in names and network.layer1[0].bn1.split == 32


def test_it_trains() -> None:
    network: Any = to_ibn_a(build_backbone("resnet18")).train()
    network.layer1[0].bn2.weight.data.fill_(1)  # timm begins with blocks whose branch is switched off by a 0 here
    network(torch.randn(2, 3, 64, 32)).square().mean().backward()
    norm = network.layer1[0].bn1
    assert norm.IN.weight.grad.any() and norm.BN.weight.grad.any()
    assert network.layer3[1].bn1.BN.running_mean.any()  # statistics are kept


def test_a_network_without_such_blocks() -> None:
    with pytest.raises(UserError, match="Sequential has no layer1 to layer3"):
        to_ibn_a(nn.Sequential(nn.Conv2d(3, 3, 1)))
