"""Backbones by name: images [batch, 3, height, width] -> maps [batch, channels, h, w]; sizes are height x width.

Names are those of the field; what timm has comes from timm, and any other network of timm is a backbone by its own name
too. Strides follow the strong baselines of re-identification: the last halving is left out unless `last_stride=2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from reidlab.errors import UserError
from reidlab.models.families.ibn import to_ibn_a
from reidlab.models.families.osnet import OSNet
from reidlab.models.families.timm_maps import TimmMaps, build_timm
from reidlab.models.weights.load import load_weights
from reidlab.models.weights.pretrained import TimmWeights, choose_weights, download
from reidlab.paths import exists, find
from reidlab.registry import BACKBONES, Entry

__all__ = ["BACKBONES", "WEIGHT_FILES", "build_backbone", "build_ibn", "build_osnet"]

WEIGHT_FILES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".pkl", ".safetensors")
_ELSEWHERE = "data/README.md says where to get files of weights; with `weights: pretrained`, timm downloads its own."


def build_osnet(
    width: float, variant: str, last_stride: int = 1, image_size: Sequence[int] | None = None, feature_dim: int = 0
) -> nn.Module:
    """Return an OSNet; see `OSNet`."""
    if last_stride != 1:
        raise UserError("OSNet has no last stride: its maps are 1/16 of the image; leave out last_stride.")
    return OSNet(width, variant, feature_dim)


def build_ibn(
    network: str, last_stride: int = 1, image_size: Sequence[int] | None = None, drop_path_rate: float = 0.0
) -> nn.Module:
    """Return a ResNet of timm with instance norm in half of the channels of its first norms (IBN-a)."""
    return to_ibn_a(build_timm(network, last_stride, image_size, drop_path_rate))


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
    entry = BACKBONES.find(name)
    checked = BACKBONES.check(name, {"last_stride": last_stride, **options})
    # weights that are not to be had are said before anything is built
    path, chosen = (None, None) if weights in (None, "") else _find_weights(name, entry, weights)
    backbone: Any = entry.factory(image_size=image_size, **entry.fixed, **checked)
    backbone.load_report = None
    if path is not None:
        target = backbone.network if isinstance(backbone, TimmMaps) else backbone
        backbone.load_report = load_weights(target, path, min_match=min_match)
    if chosen is not None:
        backbone.preprocess_mean, backbone.preprocess_std = chosen.mean, chosen.std
    return backbone


def _find_weights(name: str, entry: Entry, weights: str | Path) -> tuple[Path, TimmWeights | None]:
    """Return the file of weights, and what timm knows of them if they are timm's."""
    facts, path = entry.facts, find(weights)
    elsewhere = facts["elsewhere"]
    if exists(path) and path.is_file():
        return path, None
    if isinstance(weights, Path) or path.suffix in WEIGHT_FILES:
        raise UserError(f"weights file {path} does not exist. {elsewhere or _ELSEWHERE}")
    chosen = choose_weights(name, facts["network"], facts["pretrained"], weights, elsewhere)
    return download(chosen.name), chosen
