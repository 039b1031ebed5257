"""Attention blocks: exact counts, plain loops, the identity at the start; and putting them into backbones."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import count_macs, count_parameters
from reidlab.models.attention import ATTENTIONS, attach, build_attention, standard_places
from reidlab.models.classifiers import build_classifier
from reidlab.models.custom_cnn import CBAM
from reidlab.models.necks import build_neck
from reidlab.models.pooling import build_pooling


def maps_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block_of(name: str, channels: int, **options: Any) -> nn.Module:
    """Give a block in float64 and evaluation mode, none of whose weights and statistics are special."""
    block = build_attention(name, channels, **options).double().eval()
    generator = torch.Generator().manual_seed(1)
    for tensor in [*block.parameters(), *block.buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return block


@pytest.mark.parametrize(
    "name, options, count",
    [
        ("se", {}, 33_312),
        ("cbam", {}, 32_868),
        ("non_local", {}, 67_168),
        ("global_context", {}, 33_889),
        ("pam", {}, 329_345),
        ("cam", {}, 1_025),
        ("fpb", {}, 330_370),
        ("plr", {}, 362_657),
        ("cbam_custom_cnn", {}, 2 * 512 * 64 + 18),
        ("non_local", {"inter": 1}, 3 * 513 + 1_024 + 1_024),
        ("non_local", {"reduction": 2}, 3 * (512 * 256 + 256) + 256 * 512 + 512 + 1_024),
        ("se", {"reduction": 4}, 512 * 128 + 128 + 128 * 512 + 512),
        ("pam", {"norm": False}, 329_345 - 1_024),
        ("cam", {"norm": False}, 1),
        ("fpb", {"norm": False, "dropout": 0.2}, 330_370 - 2_048),
        ("plr", {"value": False}, 362_657 - 512 * 513),
    ],
)
def test_counts_at_512_channels(name: str, options: dict[str, Any], count: int) -> None:
    assert count_parameters(build_attention(name, 512, **options)) == count


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("shape", [(2, 16, 5, 3), (2, 3, 1, 1), (3, 8, 1, 7)])
def test_every_registered_block(name: str, shape: tuple[int, ...]) -> None:
    assert ATTENTIONS[name].description
    block = build_attention(name, shape[1])
    maps = torch.randn(shape, requires_grad=True)
    before = maps.detach().clone()
    for mode in (False, True):
        gated = block.train(mode)(maps)
        assert gated.shape == maps.shape and gated.dtype == maps.dtype
    gated.square().sum().backward()
    assert maps.grad is not None and torch.isfinite(maps.grad).all() and maps.grad.any()
    assert torch.equal(maps, before)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_autocast_keeps_the_type(name: str) -> None:
    block, maps = build_attention(name, 16), torch.randn(2, 16, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        gated = block.eval()(maps.bfloat16())
    assert gated.dtype == torch.bfloat16
    torch.testing.assert_close(gated.float(), block(maps.bfloat16().float()), rtol=0.05, atol=0.05)


def test_the_custom_cnn_form_is_the_one_definition() -> None:
    assert ATTENTIONS["cbam_custom_cnn"].factory is CBAM


@pytest.mark.parametrize("name", ["non_local", "pam", "cam", "fpb"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_the_start_is_the_identity(name: str, training: bool, norm: bool) -> None:
    block = build_attention(name, 8, **({} if name == "non_local" else {"norm": norm})).train(training)
    maps = torch.randn(4, 8, 6, 3)
    assert torch.equal(block(maps), maps)
    for parameter in block.parameters():
        parameter.data.add_(0.5)
    assert not torch.allclose(block(maps), maps)


# plain loops; w(conv) is the matrix of a 1x1 convolution


def w(conv: Any) -> np.ndarray:
    return conv.weight.detach().numpy()[:, :, 0, 0]


def b(conv: Any) -> np.ndarray:
    return conv.bias.detach().numpy()


def batch_norm(norm: Any, x: np.ndarray) -> np.ndarray:
    mean, var = norm.running_mean.numpy(), norm.running_var.numpy()
    scale = norm.weight.detach().numpy() / np.sqrt(var + norm.eps)
    return (x - mean[:, None]) * scale[:, None] + norm.bias.detach().numpy()[:, None]


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.array([math.exp(value - max(row)) for value in row])
    return powers / powers.sum()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def se_loop(block: Any, x: np.ndarray) -> np.ndarray:
    hidden = np.maximum(w(block.fc1) @ x.mean(1) + b(block.fc1), 0)
    return x * sigmoid(w(block.fc2) @ hidden + b(block.fc2))[:, None]


def global_context_loop(block: Any, x: np.ndarray) -> np.ndarray:
    weights = softmax(np.array([(w(block.conv_attn) @ x[:, n] + b(block.conv_attn))[0] for n in range(x.shape[1])]))
    context = sum(weights[n] * x[:, n] for n in range(x.shape[1]))
    mlp = block.mlp_scale
    hidden = w(mlp.fc1) @ context + b(mlp.fc1)
    hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + mlp.norm.eps)
    hidden = np.maximum(hidden * mlp.norm.weight.detach().numpy() + mlp.norm.bias.detach().numpy(), 0)
    return x * sigmoid(w(mlp.fc2) @ hidden + b(mlp.fc2))[:, None]


def non_local_loop(block: Any, x: np.ndarray) -> np.ndarray:
    theta, phi, g = (w(conv) @ x + b(conv)[:, None] for conv in (block.theta, block.phi, block.g))
    n = x.shape[1]
    y = np.stack([sum((theta[:, i] @ phi[:, j]) / n * g[:, j] for j in range(n)) for i in range(n)], axis=1)
    return x + batch_norm(block.out[1], w(block.out[0]) @ y + b(block.out[0])[:, None])


def pam_weights(block: Any, x: np.ndarray) -> np.ndarray:
    query, key = (w(conv) @ x + b(conv)[:, None] for conv in (block.query, block.key))
    n = x.shape[1]
    return np.stack([softmax(np.array([query[:, i] @ key[:, j] for j in range(n)])) for i in range(n)])


def pam_loop(block: Any, x: np.ndarray) -> np.ndarray:
    value = w(block.value) @ x + b(block.value)[:, None] if isinstance(block.value, nn.Conv2d) else x
    weights, n = pam_weights(block, x), x.shape[1]
    y = np.stack([sum(weights[i, j] * value[:, j] for j in range(n)) for i in range(n)], axis=1)
    y = block.gamma.item() * y
    return x + (batch_norm(block.norm, y) if isinstance(block.norm, nn.BatchNorm2d) else y)


def cam_weights(_block: Any, x: np.ndarray) -> np.ndarray:
    rows = []
    for i in range(len(x)):
        energy = np.array([sum(x[i, n] * x[j, n] for n in range(x.shape[1])) for j in range(len(x))])
        rows.append(softmax(energy.max() - energy))
    return np.stack(rows)


def cam_loop(block: Any, x: np.ndarray) -> np.ndarray:
    weights = cam_weights(block, x)
    y = block.gamma.item() * np.stack([sum(weights[i, j] * x[j] for j in range(len(x))) for i in range(len(x))])
    return x + (batch_norm(block.norm, y) if isinstance(block.norm, nn.BatchNorm2d) else y)


@pytest.mark.parametrize(
    "name, options, loop",
    [
        ("se", {"reduction": 2}, se_loop),
        ("global_context", {"reduction": 2}, global_context_loop),
        ("non_local", {"reduction": 2}, non_local_loop),
        ("non_local", {"inter": 1}, non_local_loop),
        ("pam", {}, pam_loop),
        ("pam", {"value": False, "norm": False}, pam_loop),
        ("cam", {}, cam_loop),
        ("cam", {"norm": False}, cam_loop),
        ("fpb", {}, lambda block, x: cam_loop(block.cam, pam_loop(block.pam, x))),
        ("plr", {"reduction": 2}, lambda block, x: se_loop(block.se, pam_loop(block.pam, x))),
    ],
)
def test_against_loops(name: str, options: dict[str, Any], loop: Any) -> None:
    block, maps = block_of(name, 6, **options), maps_of(2, 6, 4, 3)
    expected = np.stack([loop(block, one.flatten(1).numpy()).reshape(6, 4, 3) for one in maps])
    np.testing.assert_allclose(block(maps).detach().numpy(), expected, rtol=1e-9)


def test_cbam_against_loops() -> None:
    block, maps = block_of("cbam", 6, reduction=2), maps_of(1, 6, 4, 5)
    x, channel = maps[0].numpy(), block.channel
    gates = sum(w(channel.fc2) @ np.maximum(w(channel.fc1) @ pool((1, 2)), 0) for pool in (x.mean, x.max))
    x = x * sigmoid(gates)[:, None, None]
    planes, kernel = np.pad(np.stack([x.mean(0), x.max(0)]), ((0, 0), (3, 3), (3, 3))), block.spatial.conv
    gate = np.zeros((1, 20))
    for i in range(4):
        for j in range(5):
            gate[0, 5 * i + j] = (planes[:, i : i + 7, j : j + 7] * kernel.conv.weight.detach().numpy()[0]).sum()
    expected = x * sigmoid(batch_norm(kernel.bn, gate)).reshape(4, 5)
    np.testing.assert_allclose(block(maps)[0].detach().numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("name, weights", [("pam", pam_weights), ("cam", cam_weights)])
def test_attention_maps(name: str, weights: Any) -> None:
    block, maps = block_of(name, 6), maps_of(2, 6, 3, 2)
    got = block.attention_map(maps)
    np.testing.assert_allclose(
        got.detach().numpy(), np.stack([weights(block, one.flatten(1).numpy()) for one in maps]), rtol=1e-9
    )
    torch.testing.assert_close(got.sum(2), torch.ones(2, 6, dtype=torch.float64))


@pytest.mark.parametrize("name", ["non_local", "pam", "cam"])
def test_gradient(name: str) -> None:
    block, maps = block_of(name, 3), maps_of(2, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(block, (maps,))


def test_channel_attention_in_half_precision() -> None:
    # 300 positions of 20 * 20 = 120,000: beyond float16, and bfloat16 would round to steps of 512
    block, maps = build_attention("cam", 4), 20 + torch.rand(1, 4, 20, 15)
    exact = block.attention_map(maps.half().float())
    torch.testing.assert_close(block.attention_map(maps.half()), exact)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(block.attention_map(maps.half()), exact)
    assert torch.isfinite(block.half().eval()(maps.half())).all()


def test_dropout_of_the_pc_module() -> None:
    block, maps = build_attention("fpb", 4, dropout=0.5), torch.randn(64, 4, 8, 4)
    dropped: list[tuple[int, ...]] = []
    for module in block.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _m, _i, output: dropped.append(tuple(output.shape)))
    block.pam.gamma.data.fill_(1.0)
    torch.manual_seed(0)
    untouched = block.train().pam(maps) == maps
    assert dropped == [(64, 32, 32), (64, 4, 8, 4)]  # attention map, then what is added
    assert untouched.float().mean().item() == pytest.approx(0.5, abs=0.03)
    block.eval()
    assert torch.equal(block(maps), block(maps))


@pytest.mark.parametrize(
    "name, channels, options, words",
    [
        ("cbm", 8, {}, r"attention 'cbm' is unknown; choose from se, cbam, .*Did you mean 'cbam'\?"),
        ("se", 0, {}, "attention 'se': channels=0 must be 1 or more"),
        ("se", 8, {"reductoin": 4}, "no option 'reductoin'; it has reduction.*Did you mean 'reduction'"),
        ("se", 8, {"reduction": 0}, "reduction=0"),
        ("cbam", 8, {"reduction": -1}, "reduction=-1"),
        ("non_local", 8, {"reduction": 0.0625}, "reduction=0.0625 must be a whole number, such as 16"),
        ("non_local", 8, {"inter": -1}, "inter=-1"),
        ("pam", 8, {"dropout": 1.0}, "dropout=1.0 is outside"),
        ("fpb", 8, {"dropout": "0.2"}, "dropout='0.2' must be a number"),
    ],
)
def test_refused(name: str, channels: int, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_attention(name, channels, **options)


# placing


def resnet(depth: int, device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    with torch.device(device):
        return timm.create_model(f"resnet{depth}", pretrained=False, num_classes=0, global_pool="")


class Small(nn.Module):
    """A backbone of two branches and two unused parts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=4)
        self.left = nn.Sequential(nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.right = nn.ModuleDict({"conv": nn.Conv2d(6, 4, 1)})
        self.deep = nn.ModuleDict({"stem": nn.Conv2d(4, 4, 1)})
        self.head = nn.Linear(4, 2)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = self.deep["stem"](self.left(maps) + self.right["conv"](maps))
        self.head(maps.mean((2, 3)))
        return maps


RESNET50_PLACES = ("layer2.2", "layer2.3", "layer3.3", "layer3.4", "layer3.5")


def test_standard_places() -> None:
    assert standard_places("resnet50") == RESNET50_PLACES
    for name in ("resnet50_ibn_a", "seresnet50", "resnext50_32x4d", "resnet50d", "resnest50d", "resnet34"):
        assert standard_places(name) == RESNET50_PLACES
    assert standard_places("resnet18") == ("layer2.0", "layer2.1", "layer3.0", "layer3.1")
    assert standard_places("resnet101") == ("layer2.2", "layer2.3", *(f"layer3.{i}" for i in range(14, 23)))
    assert standard_places("resnet152") == ("layer2.6", "layer2.7", *(f"layer3.{i}" for i in range(27, 36)))
    assert standard_places("osnet_x1_0") == standard_places("osnet_ain_x0_25") == ("conv2", "conv3")
    for name in ("vgg16", "resnet20", "resnetv2_50"):
        with pytest.raises(UserError, match=f"{name!r}, only in ResNets of depth 18, 34, 50, 101, 152 and in OSNets"):
            standard_places(name)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_standard_places_are_the_last_blocks(depth: int) -> None:
    backbone, places = resnet(depth, "meta"), standard_places(f"resnet{depth}")
    for layer in ("layer2", "layer3"):
        mine = [int(place.partition(".")[2]) for place in places if place.startswith(layer)]
        n_blocks = len(backbone.get_submodule(layer))  # type: ignore[arg-type]
        assert mine == list(range(n_blocks))[-len(mine) :]


def test_the_component_librarys_baseline() -> None:
    backbone = resnet(50, "meta")
    trunk = count_parameters(backbone)
    attach(backbone, "non_local", standard_places("resnet50"))
    assert count_parameters(backbone) - trunk == sum(
        n * count_parameters(build_attention("non_local", width)) for n, width in ((2, 512), (3, 1024))
    )
    model = nn.Sequential(backbone, build_pooling("gem_learnable"), build_neck("bnneck", 2048))
    assert count_parameters(model) == 24_442_689
    assert count_parameters(model) + count_parameters(build_classifier("circle", 2048, 751)) == 25_980_737
    last: Any = backbone.get_submodule("layer4.0")
    last.conv2.stride = last.downsample[0].stride = (1, 1)
    assert count_macs(model.to("meta"), 384, 128) == pytest.approx(6.33e9, abs=0.005e9)


def test_the_output_is_unchanged_at_the_start() -> None:
    backbone, images = resnet(18), torch.rand(2, 3, 64, 32)
    keys, statistics = list(backbone.state_dict()), copy.deepcopy(backbone.state_dict())
    with torch.no_grad():
        before = backbone.train()(images), backbone.eval()(images)
        backbone.load_state_dict(statistics)
        assert attach(backbone, "fpb", standard_places("resnet18"), dropout=0.2) is backbone
        after = backbone.train()(images), backbone.eval()(images)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
    own = [key for key in backbone.state_dict() if ".attention." not in key]
    assert own == keys and "layer2.1.attention.pam.gamma" in backbone.state_dict()


def test_attaching_changes_no_state_of_the_backbone() -> None:
    backbone = resnet(18).train()
    backbone.get_submodule("layer1").eval()
    before, modes = copy.deepcopy(backbone.state_dict()), {n: m.training for n, m in backbone.named_modules()}
    backbone.get_submodule("layer3.1").eval()
    attach(backbone, "se", ["layer2.1", "layer3.1"])
    assert all(torch.equal(value, backbone.state_dict()[key]) for key, value in before.items())
    assert all(backbone.get_submodule(n).training == mode for n, mode in modes.items() if not n.startswith("layer3.1"))
    assert backbone.get_submodule("layer2.1.attention").training
    assert not backbone.get_submodule("layer3.1.attention").training


def open_blocks(model: nn.Module) -> None:
    """Make every block change what it is given."""
    for name, parameter in model.named_parameters():
        if "attention" in name:
            parameter.data.add_(0.3)


@pytest.mark.parametrize("place", ["stem", "left", "left.2", "deep.stem"])
def test_a_block_runs_once_after_its_part(place: str) -> None:
    plain = Small().eval()
    changed = attach(copy.deepcopy(plain), "cam", [place])
    open_blocks(changed)
    seen: dict[str, Any] = {}
    plain.get_submodule(place).register_forward_hook(lambda _m, _i, output: seen.update(part=output))
    block: Any = changed.get_submodule(place + ".attention")
    block.register_forward_hook(lambda _m, given, output: seen.setdefault("calls", []).append((given[0], output)))
    images = torch.rand(2, 3, 32, 16)
    assert not torch.allclose(plain(images), changed(images))
    ((given, output),) = seen["calls"]
    torch.testing.assert_close(given, seen["part"])
    assert output.shape == given.shape
    changed.get_submodule(place).register_forward_hook(lambda _m, _i, output: seen.update(after=output))
    changed(images)
    torch.testing.assert_close(seen["after"], output)


@pytest.mark.parametrize("place", ["stem", "left"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_run_their_own_block(place: str, copied: Any) -> None:
    images, model = torch.rand(2, 3, 32, 16), attach(Small().eval(), "cam", [place])
    other = copied(model)
    assert torch.equal(other(images), model(images))
    open_blocks(other)
    assert not torch.allclose(other(images), model(images))
    model.load_state_dict(other.state_dict())
    assert torch.equal(other(images), model(images))


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name != "non_local"])
def test_every_block_can_be_attached(name: str) -> None:
    model = attach(Small().double(), name, "stem")  # one place may be given as text
    images = torch.rand(2, 3, 32, 16, dtype=torch.float64)
    model(images).sum().backward()
    assert model.get_submodule("stem.attention.pam" if name in ("fpb", "plr") else "stem.attention")
    assert model.stem.weight.grad is not None


def test_a_wrapped_backbone_needs_no_prefix() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Small()

        def forward(self, images: Tensor) -> Tensor:
            return self.body(images)

    model = attach(Wrapped(), "se", ["left.0", "stem"])  # "stem": body.stem, not body.deep.stem further down
    added = {key.partition(".attention")[0] for key in model.state_dict() if ".attention" in key}
    assert added == {"body.left.0", "body.stem"}


@pytest.mark.parametrize(
    "places, words",
    [
        (
            ["stem", "lefd"],
            r"no part 'lefd'; it begins with stem, left, right, deep, head, unused. Did you mean 'left'\?",
        ),
        (["stem", "0.weight"], "no part '0.weight'"),
        ([""], "no part ''"),
        (["stem", "left", "stem"], "stem is named twice"),
        (["head"], r"head gives no maps \[batch, channels, height, width\]"),
        (["stem", "unused"], "unused gives no maps"),
        (["right"], "right gives no maps"),
    ],
)
def test_refused_places(places: list[str], words: str) -> None:
    model = Small()
    keys = list(model.state_dict())
    with pytest.raises(UserError, match=words):
        attach(model, "se", places)
    with pytest.raises(UserError, match="no option 'reductoin'"):
        attach(model, "se", ["stem"], reductoin=2)
    assert list(model.state_dict()) == keys and not any(part._forward_hooks for part in model.modules())
    assert model.training


def test_occupied_and_ambiguous_places() -> None:
    model = attach(Small(), "se", ["stem"])
    with pytest.raises(UserError, match="stem has a part named 'attention' already"):
        attach(model, "cam", ["stem"])
    twins = nn.ModuleDict({"one": nn.Sequential(Small()), "two": nn.Sequential(Small())})
    with pytest.raises(UserError, match=r"'left.0' is ambiguous: it is any of one.0.left.0, two.0.left.0"):
        attach(twins, "se", ["left.0"])


def test_a_backbone_that_fails_is_left_as_it_was() -> None:
    class Broken(Small):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("broken")

    model = Broken().train()
    with pytest.raises(RuntimeError, match="broken"):
        attach(model, "se", ["stem"])
    assert model.stem.training and not model.stem._forward_hooks and not hasattr(model.stem, "attention")
