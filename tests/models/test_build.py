"""Models by name, their counts, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reidlab.data.transforms import Preprocess
from reidlab.errors import UserError
from reidlab.models import MODELS, Output, build, count_macs, count_parameters
from reidlab.models.backbones import BACKBONES, build_backbone
from reidlab.registry import check_options, options_of

WHOLE = [name for name in MODELS if name not in BACKBONES]


@pytest.mark.parametrize("name", [*WHOLE, "osnet_x0_25", "mobilenetv3_small_100"])
def test_every_registered_model(name: str) -> None:
    model = build({"name": name, "height": 96, "width": 32}, num_classes=4)
    assert isinstance(model.preprocess, Preprocess)
    images = torch.rand(2, 3, model.preprocess.height, model.preprocess.width)
    with torch.inference_mode():
        assert isinstance(model.train()(images), Output)
        vectors = model.eval()(images)
    assert vectors.shape == (2, model.dim) and vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_a_model_with_the_usual_head(name: str) -> None:
    entry = MODELS[name]
    assert entry.description and entry.fixed == {"backbone": name}
    assert MODELS.find(name) is entry


def test_a_bare_backbone_is_itself_and_its_pooling() -> None:
    with torch.device("meta"):
        assert count_parameters(build("osnet_x0_25")) == 201_864  # with its layer of 512, as published
        assert count_parameters(build("resnet50")) == 23_508_032
        assert count_parameters(build("resnet50", 751)) == 23_508_032 + 2048 * 751


def test_published_weights_of_an_osnet_reach_its_head(tmp_path: Path) -> None:
    published = build_backbone("osnet_x0_25", feature_dim=512)
    for parameter in published.parameters():
        nn.init.normal_(parameter, std=0.1)
    torch.save(published.state_dict(), tmp_path / "osnet.pth")
    spec = {"name": "osnet_x0_25", "weights": str(tmp_path / "osnet.pth"), "height": 64, "width": 32}
    model = build(spec).eval()
    images = torch.rand(2, 3, 64, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), F.normalize(published.eval()(images).flatten(1)))
    report = model.backbone.load_report
    assert not report.missing and not report.unused
    assert model.maps(images).shape == (2, 128, 4, 2)  # pictures of where it looks need maps
    assert build({**spec, "pooling": "stripes"}).reduce[0].in_features > 128  # another head: stripes are wider


def test_any_network_of_timm() -> None:
    model = build({"name": "timm/regnetx_002", "neck": "bnneck", "height": 64, "width": 32}, 3)
    output = model.train()(torch.rand(2, 3, 64, 32))
    assert output.before.shape == (2, 368) and output.logits[0].shape == (2, 3)


def test_a_mapping_with_options_is_not_changed() -> None:
    spec = {"name": "custom_cnn_v32", "neck": "bnneck", "height": 64, "width": 32}
    model = build(spec, 3)
    assert spec == {"name": "custom_cnn_v32", "neck": "bnneck", "height": 64, "width": 32}
    assert len(model.necks) == len(model.classifiers) == 7


@pytest.mark.parametrize(
    "spec, words",
    [
        (
            "custom_cnn",
            r"'custom_cnn' is unknown; choose from custom_cnn_v32, .*any network of timm. Did you mean 'custom_cnn_v32'\?",
        ),
        ("osnet_x025", r"Did you mean 'osnet_x0_25'\?"),
        ({"name": "resnet50", "backbone": "resnet18"}, "model 'resnet50' has no option 'backbone'"),
        ({"name": "pcb", "backbone": {"name": "resnet18", "weights": "x"}}, "write weights beside `backbone`"),
        ({"name": "lightmbn", "variant": "gc_gem"}, "model 'lightmbn' has no option 'variant'"),
        ({"name": "resnet50", "pooling": "gemm"}, r"pooling 'gemm' is unknown.*Did you mean 'gem'\?"),
        ({"neck": "none"}, "has no name"),
        ({"name": "custom_cnn_v32", "nek": "none"}, r"has no option 'nek'; it has neck.*Did you mean 'neck'\?"),
        ({"name": "custom_cnn_v32", "num_classes": 3}, "has no option 'num_classes'"),
        ({"name": "custom_cnn_v32", "dropout": "1e-1"}, "option dropout='1e-1' must be a number, such as 0.3"),
        ({"name": "custom_cnn_v32", "dropout": True}, "dropout=True must be a number"),
        ({"name": "custom_cnn_v32", "height": 128.0}, "height=128.0 must be a whole number"),
        ({"name": "custom_cnn_v32", "parts": "yes"}, "parts='yes' must be true or false"),
        ({"name": "custom_cnn_v32", "neck": None}, "neck=None must be text"),
    ],
)
def test_refused(spec: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(spec)


def test_negative_classes() -> None:
    with pytest.raises(UserError, match="num_classes=-1"):
        build("custom_cnn_v32", -1)


def test_check_options_takes_what_fits() -> None:
    def factory(anything: object, share: float = 0.5, count: int = 1, flag: bool = False, word: str = "a") -> None: ...

    check_options("x", options_of(factory), {"anything": None, "share": 1, "count": 2, "flag": True, "word": "b"})


def test_counts_of_known_layers() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
            self.two = nn.Linear(8, 5)
            self.norm = nn.BatchNorm1d(5)
            self.seen: list[bool] = []

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.seen.append(self.training)
            return self.norm(self.two(self.grouped(self.one(images)).mean((2, 3))))

    model = Small().train()
    model.two.weight.requires_grad_(False)
    expected = 8 * 6 * 4 * 27 + 8 * 6 * 4 * 2 * 9 + 8 * 5
    assert count_macs(model, 12, 8) == expected
    assert model.seen == [False] and model.training  # counted in eval mode, put back
    assert not any(module._forward_hooks for module in model.modules())
    assert count_parameters(model) == 8 * 27 + 8 + 8 * 18 + 8 + 40 + 5 + 10
    assert count_parameters(model, trainable=True) == count_parameters(model) - 40


def test_macs_grow_with_the_area() -> None:
    model = build("custom_cnn_v32")
    convolutions = 256 * 256 + 256 * 128 + 2 * 128 * 16 + 2 * 256 * 32  # not with the area: head, channel gates
    at_128 = count_macs(model, 128, 64) - convolutions
    assert count_macs(model, 256, 128) - convolutions == 4 * at_128


def test_counting_fails_cleanly() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 8, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("broken")

    model = Broken().train()
    with pytest.raises(RuntimeError, match="broken"):
        count_macs(model, 8, 8)
    assert model.training and not model.one._forward_hooks
