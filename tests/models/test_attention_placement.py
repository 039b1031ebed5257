"""Attention blocks in backbones: where, exact counts with them, what stays as it was, and what is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models import count_macs, count_parameters
from reidlab.models.parts.attention import ATTENTIONS, attach, build_attention, standard_places
from reidlab.models.parts.classifiers import build_classifier
from reidlab.models.parts.necks import build_neck
from reidlab.models.parts.pooling import build_pooling


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
    # per non-local block two products, of inner x inner channels over all positions: without softmax they come first
    products = sum(2 * n * h * w * c**2 for n, h, w, c in ((2, 48, 16, 32), (3, 24, 8, 64)))
    assert count_macs(model, 384, 128, attention=True) - count_macs(model, 384, 128) == products


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
    with pytest.raises(UserError, match="stem already has a part named 'attention'"):
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
