"""Any network of timm as a backbone: without its head, returning maps, the last halving left out on request."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlab.errors import UserError
from reidlab.models.families.timm_create import create, is_timm_name, timm_names
from reidlab.registry import Entry, on_backbone

__all__ = ["TimmMaps", "backbone_of_timm", "build_timm", "is_timm_name", "model_of_timm", "timm_names"]

_STRIDED = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class TimmMaps(nn.Module):
    """Return maps [batch, channels, height, width] from a network of timm whose own output has another form.

    Args:
        network: its `forward_features` gives [batch, prefix + height * width, channels] (ViT; the prefix tokens, such
            as the class token, are left out), [batch, height, width, channels] (Swin), or maps.
        channels: tells the last two apart.
    """

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network
        self.channels = channels

    def tokens(self, images: Tensor) -> Tensor:
        """Return the output of the network's body, prefix tokens included."""
        body: Callable[[Tensor], Tensor] = self.network.forward_features  # type: ignore[assignment]
        return body(images)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch out row column"]:
        """Map images [batch, 3, height, width] to maps; images are padded below and right to whole patches."""
        x = self.tokens(images)
        if x.ndim == 3:
            patches: Any = self.network.patch_embed
            height, width = patches.dynamic_feat_size(tuple(images.shape[-2:]))
            x = x[:, x.shape[1] - height * width :].unflatten(1, (height, width))
        return x if x.shape[1] == self.channels else x.permute(0, 3, 1, 2).contiguous()


def backbone_of_timm(name: str) -> Entry | None:
    """Return the entry of any network of timm ("regnety_008", "timm/regnety_008"); None for other names."""
    network = name.removeprefix("timm/")
    if not is_timm_name(network):
        return None
    architecture, tag, _ = network.partition(".")
    facts = {"network": architecture, "pretrained": network if tag else "", "elsewhere": ""}
    return Entry(name, f"{__name__}:build_timm", "a network of timm", {"name": architecture}, facts)


def model_of_timm(name: str) -> Entry | None:
    """Return the entry of the usual model on any network of timm; None for other names."""
    return on_backbone(name, "a network of timm") if is_timm_name(name.removeprefix("timm/")) else None


def build_timm(
    name: str, last_stride: int = 1, image_size: Sequence[int] | None = None, drop_path_rate: float = 0.0
) -> nn.Module:
    """Build a network of timm with random weights, without its head.

    Args:
        name: timm's name.
        last_stride: 1 leaves the last halving out of a network whose maps are 1/32 of the image or smaller; one that
            halves by other means (Swin, ConvNeXt) keeps it. 2 leaves networks as they are.
        image_size: (height, width) of the position table of networks that have one (ViT), by default their own
            (224x224 as a rule); images of other sizes resample the table at each call. Others take any size.
        drop_path_rate: share of residual branches dropped while training (stochastic depth).

    Returns:
        The network itself where it gives maps [batch, channels, h, w], else inside a `TimmMaps`; with attributes
        channels, reduction (image height / map height), preprocess_mean and preprocess_std.

    Raises:
        UserError: the network cannot be built so, gives no maps, or has no halving after 1/16 to keep (last_stride 2).
    """
    if last_stride not in (1, 2):
        raise UserError(f"last_stride={last_stride} is neither 1 nor 2.")
    network, sizes = create(name, image_size, drop_path_rate)
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    training = network.training
    trace = _trace(network.eval(), sizes, name)
    for child in trace.head:
        setattr(network, child, nn.Identity())
    channels = int(network.num_features)  # type: ignore[arg-type]
    backbone, reduction = _as_maps(network, trace, channels, name)
    if last_stride == 2 and reduction <= 16:
        raise UserError(f"{name} has no last stride: its maps are 1/{reduction} of the image; leave last_stride out.")
    if last_stride == 1 and reduction > 16:
        kept = _keep_last_size(backbone, trace)
        reduction = reduction if kept is backbone else reduction // 2
        backbone = kept
    attributes: Any = backbone
    attributes.channels = channels
    attributes.reduction = reduction
    attributes.preprocess_mean = tuple(config.get("mean", _IMAGENET[0]))
    attributes.preprocess_std = tuple(config.get("std", _IMAGENET[1]))
    return backbone.train(training)


class _Trace:
    """What one forward pass of a network of timm, head and all, does to images [batch, 3, height, width].

    Attributes:
        images: the images.
        shape: of what `forward_features` gives (empty if it is no tensor).
        head: children that run only after it.
        sizes: (height, width) before and after each convolution and pooling, by name, in the order of the pass.
    """

    def __init__(self, network: Any, images: Tensor) -> None:
        self.images = images
        self.shape = torch.Size()
        self.sizes: dict[str, tuple[torch.Size, torch.Size]] = {}
        body: Callable[..., Any] = network.forward_features
        called: dict[bool, set[str]] = {True: set(), False: set()}
        inside = False

        def traced(*inputs: Any, **options: Any) -> Any:
            nonlocal inside
            inside = True
            features = body(*inputs, **options)
            inside, self.shape = False, getattr(features, "shape", self.shape)
            return features

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str) -> None:
            called[inside].add(name.partition(".")[0])
            if isinstance(module, _STRIDED):
                self.sizes[name] = (inputs[0].shape[-2:], output.shape[-2:])

        handles = [m.register_forward_hook(partial(note, name=n)) for n, m in network.named_modules() if n]
        network.forward_features = traced
        try:
            _shape(network, images)
        finally:
            del network.forward_features
            for handle in handles:
                handle.remove()
        self.head = called[False] - called[True]


def _trace(network: nn.Module, sizes: Sequence[tuple[int, int]], name: str) -> _Trace:
    """Trace the network with images of the first of `sizes` that it takes."""
    device = next(network.parameters()).device
    refused: Exception | None = None
    for size in sizes:
        try:
            return _Trace(network, torch.zeros(1, 3, *size, device=device))
        except (RuntimeError, AssertionError, AttributeError) as error:
            refused = error
    raise UserError(
        f"timm's {name} gives no maps of {' x '.join(map(str, sizes[-1]))} images ({refused})."
    ) from refused


def _as_maps(network: nn.Module, trace: _Trace, channels: int, name: str) -> tuple[nn.Module, int]:
    """Return the network, inside a `TimmMaps` unless it gives maps by itself, and image height / map height."""
    images, shape = trace.images, trace.shape
    patches: Any = getattr(network, "patch_embed", None)
    if len(shape) == 3 and hasattr(patches, "dynamic_feat_size"):
        return TimmMaps(network, channels), int(patches.feat_ratio())
    if len(shape) == 4 and channels == shape[1]:
        try:
            itself = _shape(network, images) == shape
        except (RuntimeError, AttributeError, TypeError):  # what is left of its head needs what is gone
            itself = False
        return network if itself else TimmMaps(network, channels), images.shape[2] // shape[2]
    if len(shape) == 4 and channels == shape[3]:
        return TimmMaps(network, channels), images.shape[2] // shape[1]
    given, made = list(images.shape), list(shape)
    raise UserError(f"timm's {name} gives {made} for images {given}, which reidlab cannot read as maps.")


def _keep_last_size(network: nn.Module, trace: _Trace) -> nn.Module:
    """Return a copy of a CNN that leaves its last halving out: the same parameters, last maps twice as high and wide.

    Every convolution and pooling from the last but one size to the last, on all branches, gets stride 1; poolings that
    would shrink the maps then (2x2 without padding) become identities, as in blocks without a stride. Nothing is
    dilated, as in the published baselines. Where the last halving is made otherwise (Swin's patch merging, ConvNeXt's
    2x2 convolution, blur pooling), the network itself is returned.
    """
    last = trace.shape[-2:]
    before = torch.Size(2 * n for n in last)
    steps = list(trace.sizes.items())
    # the last halving follows the last step that still gives the larger size; a halving before that belongs to it if it
    # is in the same place (a shortcut that runs first), else it is a side path (PVT's keys and values)
    end = max((i for i, (_, size) in enumerate(steps) if size[1] == before), default=-1)
    places = tuple(name.rsplit(".", 2)[0] for name, size in steps[end + 1 :] if size == (before, last))
    altered = copy.deepcopy(network)
    root = altered.network if isinstance(altered, TimmMaps) else altered
    for name, size in steps:
        if size == (before, last) and name.startswith(places):
            parent, _, child = name.rpartition(".")
            holder = root.get_submodule(parent)
            setattr(holder, child, _unstrided(getattr(holder, child)))
    try:
        worked = _shape(altered, trace.images)[-2:] == before
    except RuntimeError:  # the branches of a block no longer fit: one of them halves by other means
        worked = False
    return altered if worked else network


def _unstrided(module: Any) -> nn.Module:
    if isinstance(module, nn.Conv2d):
        module.stride = (1, 1)
        return module
    kernel, padding = (n if isinstance(n, int) else n[0] for n in (module.kernel_size, module.padding))
    if kernel != 2 * padding + 1:
        return nn.Identity()
    module.stride = 1
    return module


def _shape(network: nn.Module, images: Tensor) -> torch.Size:
    with torch.no_grad():  # not inference_mode: masks and tables that a network keeps must serve training too
        return network(images).shape
