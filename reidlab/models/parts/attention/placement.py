"""Put attention blocks into a backbone, after any of its parts, and where the papers put them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from reidlab.errors import UserError, nearest

__all__ = ["attach", "standard_places"]

_CHILD = "attention"  # the name that a block gets inside the part it follows
_PROBE = (1, 3, 128, 64)  # the images that channels are counted with: large enough for every stride of 32

# depth -> blocks in layer2 and layer3, and how many of layer3's get a block. fast-reid and the component library give
# 3 (ResNet-50) and 9 (ResNet-101), always the last ones; they leave the other depths out, and we fill them in likewise
_RESNETS = {18: (2, 2, 2), 34: (4, 6, 3), 50: (4, 6, 3), 101: (4, 23, 9), 152: (8, 36, 9)}


def standard_places(backbone: str) -> tuple[str, ...]:
    """Name the parts after which the papers put attention, by the backbone's name.

    ResNets of all kinds: the last two blocks of layer2 and the last three of layer3 (nine from ResNet-101 on), as AGW
    and fast-reid do. OSNets: conv2 and conv3.

    Raises:
        UserError: a family without published places.
    """
    if "osnet" in backbone:
        return ("conv2", "conv3")
    found = re.search(r"res(?:net|next|nest)_?(\d+)", backbone)
    if not found or int(found[1]) not in _RESNETS:
        depths = ", ".join(map(str, _RESNETS))
        raise UserError(
            f"there are no standard places for attention in {backbone!r}, only in ResNets of depth {depths} and in "
            "OSNets; name the parts, such as 'layer3.5'."
        )
    in_layer2, in_layer3, last = _RESNETS[int(found[1])]
    layer2 = [f"layer2.{i}" for i in range(in_layer2 - 2, in_layer2)]
    return (*layer2, *(f"layer3.{i}" for i in range(in_layer3 - last, in_layer3)))


def attach(backbone: nn.Module, name: str, places: Iterable[str], **options: Any) -> nn.Module:
    """Put one attention block after each of the named parts of a backbone, in place.

    The block becomes the part's child "attention", so that names of the backbone's own weights stay as they were, and
    copies, pickles and state dicts hold it. Its width is found with one tiny forward pass (no statistics change).

    Args:
        backbone: a CNN; its parts give maps [batch, channels, height, width].
        name: a block of `ATTENTIONS`.
        places: dotted names of parts, such as "layer2.3". A part of a wrapped network may be named without the
            wrapper's own name, as long as that is not ambiguous.
        options: the block's options.

    Returns:
        The same backbone.

    Raises:
        UserError: an unknown, repeated, ambiguous or occupied place, a place whose output is no maps, or a name or
            option that `build_attention` refuses. The backbone is unchanged then.
    """
    from reidlab.models.parts.attention import build_attention  # here: the package imports this module

    if isinstance(places, str):
        places = (places,)
    found = [_find(backbone, place) for place in places]
    repeated = {place for place in found if found.count(place) > 1}
    if repeated:
        raise UserError(f"{', '.join(sorted(repeated))} is named twice; one part takes one attention block.")
    parts = {place: backbone.get_submodule(place) for place in found}
    for place, part in parts.items():
        if hasattr(part, _CHILD):
            raise UserError(f"{place} already has a part named {_CHILD!r}; choose another place.")
    widths = _channels(backbone, parts)
    blocks = {place: build_attention(name, widths[place], **options) for place in parts}
    for place, block in blocks.items():
        _append(parts[place], block.to(_weight(backbone)).train(parts[place].training))
    return backbone


def _find(backbone: nn.Module, place: str) -> str:
    """Return the full name of the shallowest part called `place`."""
    names = [name for name, _ in backbone.named_modules() if name]
    fits = [name for name in names if name == place or name.endswith(f".{place}")]
    if not fits:
        tops = ", ".join(name for name, _ in backbone.named_children())
        raise UserError(f"the backbone has no part {place!r}; it begins with {tops}.{nearest(place, names)}")
    depth = min(name.count(".") for name in fits)
    shallowest = [name for name in fits if name.count(".") == depth]
    if len(shallowest) > 1:
        raise UserError(f"{place!r} is ambiguous: it is any of {', '.join(shallowest)}; give the whole name.")
    return shallowest[0]


def _weight(backbone: nn.Module) -> Tensor:
    """Return a tensor that shows on which device and in which type the backbone computes."""
    return next((p for p in backbone.parameters() if p.is_floating_point()), torch.empty(0))


def _channels(backbone: nn.Module, parts: dict[str, nn.Module]) -> dict[str, int]:
    """Count the channels of each part's output in one forward pass."""
    shapes: dict[str, tuple[int, ...]] = {}

    def noted(place: str) -> Any:
        return lambda _part, _inputs, output: shapes.update({place: tuple(getattr(output, "shape", ()))})

    handles = [part.register_forward_hook(noted(place)) for place, part in parts.items()]
    modes = [(module, module.training) for module in backbone.modules()]
    weight = _weight(backbone)
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(_PROBE, dtype=weight.dtype, device=weight.device))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:  # one by one: some may be frozen in evaluation mode
            module.training = training
    for place in parts:
        if len(shapes.get(place, ())) != 4:
            raise UserError(f"{place} gives no maps [batch, channels, height, width]; choose another place.")
    return {place: shapes[place][1] for place in parts}


def _append(part: nn.Module, block: nn.Module) -> None:
    """Make `block` the last step of `part`."""
    part.add_module(_CHILD, block)
    if type(part).forward is not nn.Sequential.forward:  # a plain Sequential runs its children itself
        part.register_forward_hook(_run)


def _run(part: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    """Pass a part's output through its attention block.

    A function of the module, which knows nothing of the block itself: so copies of the part run their own block.
    """
    return part.get_submodule(_CHILD)(output)
