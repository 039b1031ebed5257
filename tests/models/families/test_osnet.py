"""OSNet: published counts, the forward pass written out from raw tensors, and a published checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.build import count_macs, count_parameters
from reidlab.models.families.osnet import VARIANTS, ChannelGate, OSBlock, OSNet
from reidlab.models.weights.load import load_weights

PUBLISHED = {
    1.0: (2_169_508, 978_875_392),
    0.75: (1_285_754, 571_752_192),
    0.5: (630_034, 272_899_328),
    0.25: (201_864, 82_314_880),
}


@pytest.mark.parametrize("width", PUBLISHED)
def test_published_counts(width: float) -> None:
    network = OSNet(width, feature_dim=512)
    assert (count_parameters(network), count_macs(network, 256, 128)) == PUBLISHED[width]


@pytest.mark.parametrize(("variant", "parameters"), [("bn", 2_169_508), ("ibn", 2_170_532), ("ain", 2_169_508)])
def test_counts_of_the_variants(variant: str, parameters: int) -> None:
    network, bare = OSNet(1.0, variant, feature_dim=512), OSNet(1.0, variant)
    assert count_parameters(network) == parameters
    assert count_parameters(network) - count_parameters(bare) == 512 * 512 + 512 + 2 * 512
    assert (network.channels, bare.channels) == (512, 512)


@pytest.mark.parametrize(("size", "maps"), [((256, 128), (16, 8)), ((384, 128), (24, 8)), ((131, 67), (8, 4))])
def test_sizes(size: tuple[int, int], maps: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert OSNet(0.25).eval()(torch.zeros(1, 3, *size)).shape == (1, 128, *maps)


def test_attention_finds_its_places() -> None:
    """256 and 384 channels after conv2 and conv3, as LightMBN and PLR-OSNet expect."""
    network = OSNet().eval()
    with torch.inference_mode():
        maps = network.conv2(network.maxpool(network.conv1(torch.zeros(1, 3, 64, 32))))
        assert maps.shape == (1, 256, 8, 4)
        assert network.conv3(maps).shape == (1, 384, 4, 2)


def random_state(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Fill every tensor so that no layer is an identity; give a copy of the state."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.dtype == torch.float32:
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(noise + 0.5 if name.endswith("running_var") else 2 * noise - 0.8)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def forward_by_hand(state: Mapping[str, Tensor], images: Tensor, variant: str) -> Tensor:
    """OSNet's evaluation pass from the raw tensors, loop by loop."""

    def norm(x: Tensor, name: str) -> Tensor:
        weight, bias = state[f"{name}.weight"][:, None, None], state[f"{name}.bias"][:, None, None]
        if f"{name}.running_mean" in state:
            mean, variance = (state[f"{name}.running_{k}"][:, None, None] for k in ("mean", "var"))
        else:  # per image and channel
            mean = x.mean((2, 3), keepdim=True)
            variance = ((x - mean) ** 2).mean((2, 3), keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[2] // 2, groups=groups)

    def conv_norm(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return norm(conv(x, f"{name}.conv", stride), f"{name}.bn")

    def gated(x: Tensor, name: str) -> Tensor:
        hidden = torch.relu(conv(x.mean((2, 3), keepdim=True), f"{name}.fc1"))
        return x * torch.sigmoid(conv(hidden, f"{name}.fc2"))

    def block(x: Tensor, name: str, instance: str) -> Tensor:
        reduced = torch.relu(conv_norm(x, f"{name}.conv1"))
        streams = torch.zeros_like(reduced)
        for depth, letter in enumerate("abcd", start=1):
            y = reduced
            for layer in range(depth):
                light = f"{name}.conv2{letter}" + (f".{layer}" if depth > 1 else "")
                y = conv(conv(y, f"{light}.conv1"), f"{light}.conv2", groups=y.shape[1])
                y = torch.relu(norm(y, f"{light}.bn"))
            streams = streams + gated(y, f"{name}.gate")
        y = conv(streams, f"{name}.conv3.conv")
        y = norm(y, f"{name}.IN" if instance == "inside" else f"{name}.conv3.bn")
        y = y + (conv_norm(x, f"{name}.downsample") if f"{name}.downsample.conv.weight" in state else x)
        return torch.relu(norm(y, f"{name}.IN") if instance == "after" else y)

    x = F.max_pool2d(torch.relu(conv_norm(images, "conv1", 2)), 3, 2, 1)
    for stage, instance in zip(("conv2", "conv3", "conv4"), VARIANTS[variant], strict=True):
        x = block(block(x, f"{stage}.0", instance[0]), f"{stage}.1", instance[1])
        if stage != "conv4":
            x = F.avg_pool2d(torch.relu(conv_norm(x, f"{stage}.2.0")), 2)
    x = torch.relu(conv_norm(x, "conv5"))
    feature = x.mean((2, 3)) @ state["fc.0.weight"].T + state["fc.0.bias"]
    return torch.relu(norm(feature[:, :, None, None], "fc.1"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_against_the_forward_written_out(variant: str) -> None:
    network = OSNet(0.25, variant, feature_dim=7).eval()
    state = {name: tensor.double() for name, tensor in random_state(network).items()}
    network.double()
    images = torch.randn(2, 3, 67, 35, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features = network(images)
    assert features.shape == (2, 7, 1, 1) and features.count_nonzero() > 4
    torch.testing.assert_close(features, forward_by_hand(state, images, variant), rtol=1e-9, atol=1e-9)


def test_where_instance_norm_is() -> None:
    """The blocks of the papers: IBN in conv1 and conv2, AIN where the search put it."""
    with torch.device("meta"):
        found = {
            variant: {name for name, m in OSNet(1.0, variant).named_modules() if isinstance(m, nn.InstanceNorm2d)}
            for variant in VARIANTS
        }
    assert found["bn"] == set()
    assert found["ibn"] == {"conv1.bn", "conv2.0.IN", "conv2.1.IN"}
    assert found["ain"] == {"conv1.bn", "conv2.0.IN", "conv2.1.IN", "conv3.1.IN", "conv4.0.IN"}


def test_the_gate_is_shared_and_between_0_and_1() -> None:
    gate = ChannelGate(16)
    maps = torch.rand(2, 16, 3, 2)
    ratio = gate(maps) / maps
    assert ((ratio > 0) & (ratio < 1)).all()
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert sum(isinstance(m, ChannelGate) for m in OSBlock(16, 64).modules()) == 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns(variant: str) -> None:
    torch.manual_seed(0)
    network = OSNet(0.25, variant, feature_dim=8).train()
    network(torch.randn(4, 3, 64, 32)).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias before a batch norm has no effect on what follows; fc1's ReLU may switch a gate of one hidden unit off
    assert all(name == "fc.0.bias" or ".gate." in name for name in idle)
    gates = [p for name, p in network.named_parameters() if ".gate.fc2.bias" in name]
    assert all(p.grad is not None and p.grad.any() for p in gates)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    network = OSNet(0.5, feature_dim=512)
    weight = network.conv4[1].conv3.conv.weight  # 256 x 64: fan_out 256
    assert weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.05)
    assert network.fc[0].weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not network.fc[0].bias.any() and not network.conv2[0].gate.fc1.bias.any()


def test_wrong_options() -> None:
    with pytest.raises(UserError, match=r"'aim' is not one of bn, ibn, ain. Did you mean 'ain'\?"):
        OSNet(1.0, "aim")
    with pytest.raises(UserError, match=r"width=0\.01 must be 0\.0625 or more"):
        OSNet(0.01)
    with pytest.raises(UserError, match="feature_dim=-1"):
        OSNet(feature_dim=-1)


# osnet_x0_25_msmt17.onnx, exported by others from the published checkpoint and run by onnxruntime 1.31 on `sine_images`:
# elements 0, 3, 100 and 511 of both rows, and the norms of the rows
ONNX = [1.83528, 0.317531, 0.277523, 0.0, 1.83857, 0.371915, 0.277756, 0.0, 22.8578, 22.9461]


def sine_images() -> Tensor:
    """Return images [2, 3, 256, 128] that are the same everywhere."""
    return torch.sin(torch.arange(2 * 3 * 256 * 128, dtype=torch.float64) * 0.37).float().reshape(2, 3, 256, 128)


@pytest.mark.real_data
def test_the_published_checkpoint(real_data: Callable[[str], Path]) -> None:
    """torchreid's file loads by its own names, and the network then gives what its ONNX export gives."""
    path = real_data("weights") / "osnet_x0_25_msmt17.pth"
    if not path.is_file():
        pytest.skip("data/raw/weights/osnet_x0_25_msmt17.pth is not there (torchreid's model zoo has it)")
    network = OSNet(0.25, feature_dim=512).eval()
    report = load_weights(network, path)
    assert (report.matched, report.missing, report.reshaped) == (565, (), ())
    assert report.unused == ("classifier.weight", "classifier.bias")
    with torch.inference_mode():
        features = network(sine_images())[:, :, 0, 0]
    found = [*features[:, [0, 3, 100, 511]].flatten().tolist(), *features.norm(dim=1).tolist()]
    assert found == pytest.approx(ONNX, rel=1e-4, abs=1e-4)
