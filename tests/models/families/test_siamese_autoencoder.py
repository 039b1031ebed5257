"""The Siamese autoencoder: published sizes, its output, and that evaluation gives its code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from reidlab.errors import UserError
from reidlab.models import build, count_parameters
from reidlab.models.parts.autoencoders import AUTOENCODERS
from reidlab.models.parts.pair_heads import PAIR_HEADS

SIZE: dict[str, Any] = {"height": 64, "width": 32}


def small(**options: Any) -> Any:
    torch.manual_seed(0)
    given = {
        "name": "siamese_autoencoder",
        "backbone": "osnet_x0_25",
        "autoencoder": {"name": "ae", "code": 24, "hidden": [48, 32]},
        "decoder": {"name": "direct", "hidden": 32},
        **SIZE,
    }
    return build({**given, **options}, options.pop("num_classes", 0))


@pytest.mark.parametrize(
    "backbone, pooling, size, trunk, width",
    [
        ("resnet152", "avg", (256, 128), 58_143_808, 2_048),
        ("vgg16", {"name": "grid", "rows": 7, "columns": 7}, (256, 128), 14_714_688, 25_088),
        ("densenet121", "", (256, 128), 6_953_856, 32_768),
        ("swin_tiny", "", (224, 224), 27_519_354, 37_632),
    ],
)
def test_published_sizes(backbone: str, pooling: Any, size: tuple[int, int], trunk: int, width: int) -> None:
    options = {"backbone": backbone, "pooling": pooling, "height": size[0], "width": size[1]}
    model: Any = build({"name": "siamese_autoencoder", **options})
    assert count_parameters(model.backbone) == trunk
    assert model.autoencoder.hidden[0].in_features == width
    assert count_parameters(model.pair_head) == 1_392_665 and count_parameters(model.decoder) == 1_821_273
    assert model.dim == 728 and not len(model.classifiers)


@pytest.mark.parametrize("head", PAIR_HEADS)
@pytest.mark.parametrize("name", AUTOENCODERS)
def test_output_while_training(name: str, head: str) -> None:
    model = small(autoencoder={"name": name, "code": 24, "hidden": [48, 32]}, pair_head=head)
    images = torch.randn(6, 3, 64, 32)
    output = model.train()(images)
    siamese = output.siamese
    assert output.before.shape == (6, 24) and output.logits == ()
    assert siamese.reconstruction.shape == siamese.pixels.shape == images.shape
    assert siamese.pairs.shape == (6, 6)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (model.preprocess.mean, model.preprocess.std))
    torch.testing.assert_close(siamese.pixels, (images * std + mean).clamp(0, 1))
    assert (siamese.mean is None) == (name != "vae")


def test_evaluation_gives_normalised_codes() -> None:
    model = small().eval()
    images = torch.randn(4, 3, 64, 32)
    codes = model.codes(images)
    torch.testing.assert_close(model(images), F.normalize(codes, dim=1))
    decoded = model.decode(codes)
    assert decoded.dtype == torch.uint8 and decoded.shape == (4, 3, 64, 32)
    same = model.same_person(codes, codes.flip(0))
    assert same.shape == (4,) and same.min() >= 0 and same.max() <= 1


def test_parts_can_be_left_out() -> None:
    model = small(decoder="", pair_head="")
    output = model.train()(torch.randn(4, 3, 64, 32))
    assert output.siamese.reconstruction is None and output.siamese.pairs is None
    codes = torch.randn(2, 24)
    with pytest.raises(UserError, match="no decoder"):
        model.decode(codes)
    with pytest.raises(UserError, match="no pair head"):
        model.same_person(codes, codes)
    with pytest.raises(UserError, match="tied"):
        small(decoder="", tied=True)


def test_with_a_classifier() -> None:
    model = build({"name": "siamese_autoencoder", "backbone": "osnet_x0_25", **SIZE}, 7)
    output: Any = model.train()(torch.randn(4, 3, 64, 32), labels=torch.tensor([0, 1, -1, 6]))
    assert [tuple(logits.shape) for logits in output.logits] == [(4, 7)]


def test_building_changes_no_statistics() -> None:
    model = small()
    buffers = {name: value for name, value in model.backbone.named_buffers() if "running_mean" in name}
    assert buffers and not any(value.any() for value in buffers.values())
    assert model.training
