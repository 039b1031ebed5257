"""Depthwise convolutions with fast gradients: torch's own are the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reidlab import devices
from reidlab.models import build
from reidlab.training import depthwise
from reidlab.training.depthwise import depthwise_conv2d, fast_depthwise

CPU_BFLOAT16 = devices.ComputePlan(torch.device("cpu"), torch.bfloat16)
NAME = "DepthwiseBackward"


def gradients(result: Tensor, images: Tensor, weight: Tensor, seen: Tensor) -> tuple[Tensor, ...]:
    return (result, *torch.autograd.grad(result, (images, weight), seen))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.data(),
)
def test_same_as_torch(sides: tuple[int, int], stride: tuple[int, int], data: st.DataObject) -> None:
    padding = tuple(data.draw(st.integers(0, side - 1)) for side in sides)
    size = [data.draw(st.integers(max(side - 2 * pad, 1), 12)) for side, pad in zip(sides, padding)]
    batch, channels = data.draw(st.integers(1, 3)), data.draw(st.integers(2, 5))
    torch.manual_seed(0)
    images = torch.randn(batch, channels, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(channels, 1, *sides, dtype=torch.float64, requires_grad=True)
    right = F.conv2d(images, weight, None, stride, padding, 1, channels)
    seen = torch.randn_like(right)
    ours = depthwise_conv2d(images, weight, stride, padding)
    for a, b in zip(gradients(ours, images, weight, seen), gradients(right, images, weight, seen)):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(5, 1, 2), (3, 2, 1), (5, 2, 0), (7, 1, 3), (4, 1, 1), ((1, 5), (1, 2), (0, 2))]
)
def test_a_layer_in_bfloat16(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(24, 24, kernel, stride, padding, groups=24).to(memory_format=torch.channels_last)
    images = torch.randn(8, 24, 14, 9).contiguous(memory_format=torch.channels_last).requires_grad_()
    every = (images, *layer.parameters())
    with CPU_BFLOAT16.autocast():
        plain = layer(images)
        with fast_depthwise(CPU_BFLOAT16):
            ours = layer(images)
    seen = torch.randn_like(plain)
    assert ours.dtype == torch.bfloat16 and found(ours, NAME) and not found(plain, NAME)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    for a, b in zip(torch.autograd.grad(ours, every, seen), torch.autograd.grad(plain, every, seen)):
        assert a.dtype == b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02 * float(b.abs().max()))
    torch.testing.assert_close(ours, plain, rtol=0, atol=0)


def found(result: Tensor, name: str) -> bool:
    """Return whether an operation stands in a result's graph."""
    waiting = [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if name in type(node).__name__:
            return True
        waiting += [parent for parent, _ in node.next_functions]
    return False


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),  # fast as it is
        nn.Conv2d(8, 8, 5, 1, 2),  # full
        nn.Conv2d(8, 8, 5, 1, 2, groups=4),  # grouped
        nn.Conv2d(8, 16, 5, 1, 2, groups=8),  # two kernels a channel
        nn.Conv2d(8, 8, 5, 1, 4, dilation=2, groups=8),
        nn.Conv2d(8, 8, 5, 1, "same", groups=8),
        nn.Conv2d(8, 8, 3, 2, 3, groups=8),  # padding as wide as the kernel
        nn.Conv2d(1, 1, 5, 1, 2),
        nn.Conv2d(8, 8, 5, 1, 2, groups=8).requires_grad_(False),
    ],
    ids=str,
)
def test_what_does_not_gain_is_left_alone(layer: nn.Conv2d) -> None:
    images = torch.randn(2, layer.in_channels, 12, 12, requires_grad=True)
    with CPU_BFLOAT16.autocast(), fast_depthwise(CPU_BFLOAT16):
        assert not found(layer(images), NAME)


def test_other_devices_and_types_are_left_alone() -> None:
    layer = nn.Conv2d(8, 8, 5, 1, 2, groups=8)
    images = torch.randn(2, 8, 12, 12)
    with fast_depthwise(devices.plan("cpu", "float32")):
        assert not found(layer(images), NAME)
    with fast_depthwise(CPU_BFLOAT16):  # no autocast around it: float32
        assert not found(layer(images), NAME)
    elsewhere = devices.ComputePlan(torch.device("cuda"), torch.bfloat16)
    assert not isinstance(fast_depthwise(elsewhere), depthwise._Redirected)


def test_no_second_gradient() -> None:
    images = torch.randn(1, 2, 6, 6, requires_grad=True)
    weight = torch.randn(2, 1, 5, 5, requires_grad=True)
    result = depthwise_conv2d(images, weight, (1, 1), (2, 2)).square().sum()
    (first,) = torch.autograd.grad(result, images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_what_torch_compile_is_told_agrees() -> None:
    images = torch.randn(2, 6, 9, 7).contiguous(memory_format=torch.channels_last)
    for side, stride in ((5, 1), (3, 2)):
        weight = torch.randn(6, 1, side, side)
        seen = torch.randn_like(F.conv2d(images, weight, None, stride, 1, 1, 6))
        arguments = (seen, images, weight, [stride, stride], [1, 1])
        torch.library.opcheck(depthwise._gradients, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv2_100"])
def test_a_network_uses_it(name: str) -> None:
    model = build({"name": name, "neck": "bnneck", "height": 64, "width": 32}, num_classes=4).train()
    images = torch.rand(4, 3, 64, 32)
    with CPU_BFLOAT16.autocast(), fast_depthwise(CPU_BFLOAT16):
        logits = model(images).logits[0]
    assert found(logits, NAME)
    logits.float().square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("side", "stride", "padding", "size"),
    [(3, 2, 1, (2, 1)), (3, 2, 1, (3, 1)), (2, 3, 1, (3, 2)), ((1, 3), (1, 2), (0, 2), (4, 1)), (3, 3, 1, (1, 2))],
)
def test_nothing_unwritten_is_read(side: Any, stride: Any, padding: Any, size: tuple[int, int]) -> None:
    """Of a kernel's column that sees padding alone the gradient is 0; the library left there what stood in memory."""
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, side, stride, padding, groups=16, bias=False)
    images = torch.randn(6, 16, *size).contiguous(memory_format=torch.channels_last)
    (wanted,) = torch.autograd.grad(layer(images).square().sum(), layer.weight)
    unseen = wanted.abs().sum((0, 1)) == 0
    assert unseen.any(), "the case is one"
    for _ in range(5):
        for count in (64, 144, 288, 576, 1024, 4096):  # memory that is handed out next is full of NaN
            poison = [torch.full((count,), float("nan"), dtype=torch.bfloat16) for _ in range(3)]
            del poison
        with CPU_BFLOAT16.autocast(), fast_depthwise(CPU_BFLOAT16):
            result = layer(images)
        (got,) = torch.autograd.grad(result.float().square().sum(), layer.weight)
        assert (got[:, :, unseen] == 0).all()
        torch.testing.assert_close(got, wanted, rtol=0.05, atol=0.05 * float(wanted.abs().max()))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_sees_padding_alone(data: st.DataObject) -> None:
    """Where the images are 1 everywhere and the gradient too, what a place of the kernel saw is its own gradient."""
    sides = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = tuple(data.draw(st.integers(0, side - 1)) for side in sides)
    size = [data.draw(st.integers(max(side - 2 * pad, 1), 6)) for side, pad in zip(sides, padding)]
    images, weight = torch.ones(1, 1, *size), torch.zeros(1, 1, *sides, requires_grad=True)
    result = F.conv2d(images, weight, None, stride, padding)
    (seen,) = torch.autograd.grad(result.sum(), weight)
    found = depthwise._sees_padding_alone(result, images, weight, stride, padding)
    assert found == bool((seen == 0).any())
