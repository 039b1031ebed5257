"""The custom CNN v3.2: its counts, its table of layers, its fixed filters, and its CBAM against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import count_macs, count_parameters
from reidlab.models.families.custom_cnn import CBAM, CustomCNN, FixedFilters, static_kernels

SOBEL_X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
LAPLACIAN = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
BLUR = [[1 / 9, 1 / 9, 1 / 9], [1 / 9, 1 / 9, 1 / 9], [1 / 9, 1 / 9, 1 / 9]]


def kernels_as_written() -> Tensor:
    return torch.tensor([[plane] * 3 for plane in (SOBEL_X, LAPLACIAN, BLUR)], dtype=torch.float32)


@pytest.fixture
def network() -> CustomCNN:
    torch.manual_seed(0)
    return CustomCNN()


def test_the_published_counts(network: CustomCNN) -> None:
    assert count_parameters(network) == 755_988
    assert count_parameters(network, trainable=True) == 755_907
    assert count_parameters(network) - count_parameters(network, trainable=True) == 81
    assert count_parameters(network.part_heads) == 198_912
    assert count_parameters(CustomCNN(parts=False)) == 755_988 - 198_912
    assert count_macs(network, 128, 64) == 77_062_656


def test_the_table_of_layers(network: CustomCNN) -> None:
    table = {
        "static_conv": (3, 128, 64),
        "trainable_conv": (13, 128, 64),
        "bn1": (16, 128, 64),
        "stage2": (32, 64, 32),
        "stage3": (64, 32, 16),
        "stage4": (128, 16, 8),
        "cbam4": (128, 16, 8),
        "stage5": (256, 16, 8),
        "cbam5": (256, 16, 8),
        "dropout": (256, 16, 8),
        "head": (128,),
    }
    seen: dict[str, tuple[int, ...]] = {}
    for name in table:

        def note(_module: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
            seen[name] = tuple(output.shape[1:])

        network.get_submodule(name).register_forward_hook(note)
    embedding = network.eval()(torch.rand(2, 3, 128, 64))
    assert seen == table
    assert embedding.shape == (2, 128)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    assert network.maps(torch.rand(1, 3, 128, 64)).shape == (1, 256, 16, 8)


def test_the_kinds_of_layers(network: CustomCNN) -> None:
    activations = [(network.stage2, nn.ELU), (network.stage3, nn.ELU), (network.stage4, nn.ELU)]
    for stage, kind in [*activations, (network.stage5, nn.ReLU6)]:
        convolution, norm, activation = stage.body
        assert isinstance(activation, kind) and isinstance(norm, nn.BatchNorm2d)
        assert convolution.bias is not None and stage.skip.bias is None
        assert convolution.kernel_size == (3, 3) and stage.skip.kernel_size == (1, 1)
        assert convolution.stride == stage.skip.stride == ((1, 1) if stage is network.stage5 else (2, 2))
    assert [type(layer) for layer in network.head] == [
        nn.Linear,
        nn.BatchNorm1d,
        nn.LeakyReLU,
        nn.Linear,
        nn.LayerNorm,
    ]
    assert network.head[2].negative_slope == 0.1 and network.dropout.p == 0.3
    assert len(network.part_heads) == 6
    assert [tuple(head[0].weight.shape) for head in network.part_heads] == [(128, 256)] * 6
    assert network.cbam4.channel_attention[1].out_channels == 16
    assert network.cbam5.channel_attention[1].out_channels == 32


def test_a_forward_pass_written_out(network: CustomCNN) -> None:
    """The whole evaluation pass again with functional calls on the state dict."""
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 3, 64, 32))  # BN statistics that are not 0 and 1
    network.eval()
    f, state = torch.nn.functional, network.state_dict()
    images = torch.rand(3, 3, 64, 32)

    def bn(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{k}"].reshape(-1, *[1] * (x.dim() - 2))
            for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def stage(x: Tensor, name: str, stride: int) -> Tensor:
        inner = f.conv2d(x, state[f"{name}.body.0.weight"], state[f"{name}.body.0.bias"], stride=stride, padding=1)
        inner = bn(inner, f"{name}.body.1")
        inner = torch.where(inner > 0, inner, inner.exp() - 1) if name != "stage5" else inner.clamp(0, 6)
        return inner + f.conv2d(x, state[f"{name}.skip.weight"], stride=stride)

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.1 * x)

    first = torch.cat(
        [
            f.conv2d(images, kernels_as_written(), padding=1),
            f.conv2d(images, state["trainable_conv.weight"], padding=1),
        ],
        dim=1,
    )
    x = stage(stage(leaky(bn(first, "bn1")), "stage2", 2), "stage3", 2)
    x = network.cbam4(stage(x, "stage4", 2))
    x = network.cbam5(stage(x, "stage5", 1))
    torch.testing.assert_close(x, network.maps(images), rtol=1e-4, atol=1e-4)
    hidden = leaky(bn(x.mean((2, 3)) @ state["head.0.weight"].T + state["head.0.bias"], "head.1"))
    out = hidden @ state["head.3.weight"].T + state["head.3.bias"]
    centred = out - out.mean(1, keepdim=True)
    out = centred / torch.sqrt((centred**2).mean(1, keepdim=True) + 1e-5)
    out = out * state["head.4.weight"] + state["head.4.bias"]
    out = out / out.norm(dim=1, keepdim=True)
    torch.testing.assert_close(network(images), out, rtol=1e-4, atol=1e-5)


def test_the_kernels_are_the_constants(network: CustomCNN) -> None:
    assert torch.equal(static_kernels(), kernels_as_written())
    assert torch.equal(network.static_conv.weight, kernels_as_written())
    assert static_kernels() is not static_kernels()


def test_what_the_filters_answer_to() -> None:
    filters = FixedFilters()
    flat = torch.full((1, 3, 5, 5), 0.5)
    inside = filters(flat)[0, :, 2, 2]
    torch.testing.assert_close(inside, torch.tensor([0.0, 0.0, 1.5]))  # edges see nothing, the blur sums three channels
    step = torch.zeros(1, 3, 5, 6)
    step[..., 3:] = 1  # dark left, bright right
    assert filters(step)[0, 0, 2, 2] == pytest.approx(12)  # 4 in each of three channels
    assert filters(step.transpose(2, 3))[0, 0, 2, 2] == pytest.approx(0)


@pytest.mark.parametrize("unfrozen", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.1),
    ],
)
def test_the_kernels_outlive_training(network: CustomCNN, optimizer: object, unfrozen: bool) -> None:
    if unfrozen:
        network.requires_grad_(True)
    steps = optimizer(network.parameters())  # type: ignore[operator]
    before = network.trainable_conv.weight.detach().clone()
    for _ in range(2):
        loss = network(torch.rand(2, 3, 16, 16)).sum(dim=1).square().mean()
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert torch.equal(network.static_conv.weight.detach(), kernels_as_written())
    assert network.static_conv.weight.grad is None
    assert not torch.equal(network.trainable_conv.weight.detach(), before)


def test_the_kernels_outlive_initialisers(network: CustomCNN) -> None:
    def initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Conv1d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d | nn.LayerNorm):
            nn.init.ones_(module.weight)
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()  # type: ignore[operator]

    network._initialise()
    network.apply(initialise)
    assert torch.equal(network.static_conv.weight, kernels_as_written())


def test_gradients_reach_everything_but_the_kernels_and_the_unused_parts(network: CustomCNN) -> None:
    network(torch.rand(4, 3, 32, 16)).sum(dim=1).square().mean().backward()
    without = {name for name, p in network.named_parameters() if p.grad is None}
    assert without == {"static_conv.weight"} | {f"part_heads.{i}.{j}.{k}" for i in range(6) for j in (0, 1) for k in ("weight", "bias")}  # fmt: skip


def naive_cbam(block: CBAM, maps: np.ndarray) -> np.ndarray:
    """Both gates with Python loops, float64 [channels, height, width]."""
    squeeze = block.channel_attention[1].weight.detach().double().numpy()[:, :, 0, 0]
    excite = block.channel_attention[3].weight.detach().double().numpy()[:, :, 0, 0]
    kernel = block.spatial_attention[0].weight.detach().double().numpy()[0]
    channels, height, width = maps.shape
    mean = [sum(maps[c].ravel()) / (height * width) for c in range(channels)]
    hidden = [sum(squeeze[h, c] * mean[c] for c in range(channels)) for h in range(len(squeeze))]
    hidden = [value if value > 0 else 0.1 * value for value in hidden]
    gated = np.empty_like(maps)
    for c in range(channels):
        gate = 1 / (1 + math.exp(-sum(excite[c, h] * hidden[h] for h in range(len(hidden)))))
        gated[c] = maps[c] * gate
    out = np.empty_like(maps)
    for y in range(height):
        for x in range(width):
            total = 0.0
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        column = gated[:, y + dy, x + dx]
                        total += kernel[0, dy + 1, dx + 1] * (sum(column) / channels)
                        total += kernel[1, dy + 1, dx + 1] * max(column)
            out[:, y, x] = gated[:, y, x] / (1 + math.exp(-total))
    return out


@settings(deadline=None, max_examples=10)
@given(channels=st.integers(1, 20), height=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 99))
def test_cbam_against_loops(channels: int, height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    block = CBAM(channels, reduction=2).double()
    for parameter in block.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    maps = torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
    got = block(maps).detach().numpy()
    for image, expected in zip(got, maps.numpy()):
        np.testing.assert_allclose(image, naive_cbam(block, expected), rtol=1e-9, atol=1e-12)


def test_cbam_widths() -> None:
    assert CBAM(128).channel_attention[1].out_channels == 16
    assert CBAM(32).channel_attention[1].out_channels == 8  # never below 8
    assert count_parameters(CBAM(128)) == 2 * 128 * 16 + 18


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 16), (128, 64), (256, 128), (64, 224)])
def test_any_input_size(network: CustomCNN, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    maps = network.eval().maps(images)
    assert maps.shape == (2, 256, -(-size[0] // 8), -(-size[1] // 8))
    embedding = network(images)
    assert embedding.shape == (2, 128) and torch.isfinite(embedding).all()
    network.train()(images).sum().backward()


def test_last_stride_1_keeps_the_resolution() -> None:
    network = CustomCNN(last_stride=1).eval()
    assert network.maps(torch.rand(1, 3, 128, 64)).shape == (1, 256, 32, 16)
    assert count_parameters(network) == 755_988


@pytest.mark.parametrize(
    "options, words",
    [
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"last_stride": 3}, "last_stride=3"),
    ],
)
def test_refused_options(options: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        CustomCNN(**options)  # type: ignore[arg-type]


def test_dropout_acts_while_training_only(network: CustomCNN) -> None:
    images = torch.rand(4, 3, 32, 16)
    network.eval()
    assert torch.equal(network(images), network(images))
    dropped: list[Tensor] = []
    network.dropout.register_forward_hook(lambda _m, _i, output: dropped.append(output))
    network.train()(images)
    maps = dropped[0]
    zeroed = (maps == 0).float().mean().item()
    assert 0.25 < zeroed < 0.35
