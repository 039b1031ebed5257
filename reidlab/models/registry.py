"""What can be named as a model in a recipe: whole models, and every backbone with the usual head behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from reidlab.errors import UserError, nearest
from reidlab.models.backbones import BACKBONES
from reidlab.models.custom_cnn_reid import CustomCNNReID
from reidlab.models.fpb import FPB
from reidlab.models.lightmbn import LightMBN
from reidlab.models.mgn import MGN
from reidlab.models.pcb import PCB
from reidlab.models.plr_osnet import PLROSNet
from reidlab.models.reid_model import ReIDModel
from reidlab.models.timm_maps import is_timm_name
from reidlab.models.transreid import TransReID

__all__ = ["MODELS", "ModelEntry", "find_model"]


@dataclass(frozen=True)
class ModelEntry:
    """A registered model.

    Attributes:
        factory: makes it: factory(num_classes, **fixed, **options).
        description: one sentence on what it is.
        fixed: options that the name stands for; a recipe cannot give them.
    """

    factory: Callable[..., nn.Module]
    description: str
    fixed: Mapping[str, Any] = field(default_factory=dict)


def _on_backbone(name: str, description: str) -> ModelEntry:
    # OSNet is published with a layer of 512 behind the pooling, which its counts include
    factory = partial(ReIDModel, feature_dim=512) if name.startswith("osnet") else ReIDModel
    return ModelEntry(factory, description, {"backbone": name})


MODELS: dict[str, ModelEntry] = {
    "custom_cnn_v32": ModelEntry(
        CustomCNNReID, "custom CNN v3.2: fixed edge filters, four stages, CBAM, 128-d embedding; 0.76 M parameters"
    ),
    "lightmbn": ModelEntry(
        LightMBN,
        "LightMBN: global, part and channel branches on OSNet, seven features of 512; 6.5 M parameters",
        {"variant": "original"},
    ),
    "lightmbn_gc_gem": ModelEntry(
        LightMBN, "LightMBN with global context and trained GeM poolings; 6.5 M parameters", {"variant": "gc_gem"}
    ),
    "pcb": ModelEntry(PCB, "PCB: six stripes of ResNet-50, a classifier each, 12,288 numbers; 24.0 M parameters"),
    "mgn": ModelEntry(
        MGN, "MGN: whole, halves and thirds in three branches of ResNet-50, eight features of 256; 68.8 M parameters"
    ),
    "plr_osnet": ModelEntry(
        PLROSNet,
        "PLR-OSNet: OSNet with attention, a global branch and four stripes that share a classifier; 3.3 M parameters",
    ),
    "fpb": ModelEntry(
        FPB, "FPB: ResNet-50 with attention and a feature pyramid, three stripes as parts; 27.3 M parameters"
    ),
    "transreid": ModelEntry(
        TransReID,
        "TransReID without camera ids: ViT-S on overlapping patches, four branches of shuffled ones; 23.5 M parameters",
    ),
    **{name: _on_backbone(name, entry.description) for name, entry in BACKBONES.items()},
}


def find_model(name: str) -> ModelEntry:
    """Give a registered model by its name, or any network of timm as the backbone of a `ReIDModel`.

    Raises:
        UserError: neither.
    """
    if name in MODELS:
        return MODELS[name]
    if is_timm_name(name.removeprefix("timm/")):
        return _on_backbone(name, "a network of timm")
    known = ", ".join(MODELS)
    hint = nearest(name, MODELS)
    raise UserError(f"model {name!r} is unknown; choose from {known}, or any network of timm.{hint}")
